import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tellStart } from '../../src/first-start.ts';

const addresses = { ssh: 'ssh://127.0.0.1:2222', http: 'http://127.0.0.1:8080' };
const first = { uid: 'alice', tool: 'hello', password: 'secret', leftOut: [] };

for (const { keys, remote, command } of [
  { keys: 1, remote: 'ssh://alice@127.0.0.1:2222/hello.git', command: 'ssh -p 2222 alice@127.0.0.1 help' },
  {
    keys: 0,
    remote: 'http://alice@127.0.0.1:8080/hello.git',
    command: "curl -u alice --data 'help' http://127.0.0.1:8080/-/command",
  },
]) {
  test(`the first start with a user who has ${keys} SSH keys prints a git remote, the deploy branch, a command for this user, and the folder in which npx works`, () => {
    const text = tellStart({ ...first, keys }, addresses, {
      ...{ web: null, hostKey: 'SHA256:x', pod: null, branch: 'live' },
      data: '/srv/push',
    });
    assert.ok(text.includes(`\n      git remote add toolforge ${remote}\n`), text);
    assert.ok(text.includes('\n      git push toolforge live\n'), text);
    assert.ok(text.includes(`Commands:       ${command}\n`), text);
    // In another folder, npx would ask the registry for a package named toolforge-push.
    assert.match(
      text,
      /TOOLFORGE_PUSH_DATA=\/srv\/push npx toolforge-push tool add NAME --maintainer alice {3}\(in the folder of toolforge-push\)\n/,
    );
  });
}

test('the first start in a pod prints the password and a kubectl command for the operator, but no address and no git remote', () => {
  const facts = {
    web: null,
    hostKey: 'SHA256:x',
    data: null,
    branch: 'main',
    pod: { namespace: 'push', name: 'toolforge-push-0' },
  };
  const text = tellStart({ ...first, keys: 0 }, addresses, facts);
  assert.match(text, /Password: +secret/);
  assert.match(text, /kubectl -n push exec toolforge-push-0 -- node src\/cli\/bin\.ts tool add/);
  assert.doesNotMatch(text, /127\.0\.0\.1|npx|git remote/);
  assert.equal(tellStart(null, addresses, facts), '', 'a later start has nothing to tell');
});
