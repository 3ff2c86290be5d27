import assert from 'node:assert/strict';
import { test } from 'node:test';
import { welcome } from '../../src/first-start.ts';

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
  test(`a first start with ${keys} keys names a remote and commands that work with them`, () => {
    const text = welcome({ ...first, keys }, addresses, { web: null, hostKey: 'SHA256:x' });
    assert.ok(text.includes(`\n      git remote add toolforge ${remote}\n`), text);
    assert.ok(text.includes(`Commands:       ${command}\n`), text);
  });
}
