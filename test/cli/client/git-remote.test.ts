import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverAt } from '../../../src/cli/client/git-remote.ts';
import { commandText } from '../../../src/cli/client/over-ssh.ts';
import { parseExec } from '../../../src/ssh/session/parse-exec.ts';

for (const { address, user, host, port } of [
  { address: 'ssh://alice@127.0.0.1:2222/wikibot.git', user: 'alice', host: '127.0.0.1', port: '2222' },
  { address: 'ssh://push.example.org/wikibot.git', user: null, host: 'push.example.org', port: null },
  { address: 'ssh://alice@[::1]:2222/~/wikibot.git/', user: 'alice', host: '::1', port: '2222' },
  { address: 'alice@push.example.org:wikibot.git', user: 'alice', host: 'push.example.org', port: null },
  { address: 'alice@push:/wikibot', user: 'alice', host: 'push', port: null },
  { address: 'alice@[::1]:wikibot.git', user: 'alice', host: '::1', port: null },
]) {
  test(`the git remote ${address} is understood as a server over SSH`, () => {
    const server = serverAt('toolforge', address);
    assert.ok(server?.door === 'ssh');
    assert.deepEqual([server.tool, server.user, server.host, server.port], ['wikibot', user, host, port]);
  });
}

for (const { address, url, shown } of [
  {
    address: 'https://alice@push.example.org/wikibot.git',
    url: 'https://push.example.org/-/command',
    shown: 'https://alice@push.example.org/wikibot.git',
  },
  {
    address: 'http://ci:s3cret@127.0.0.1:8080/push/wikibot.git',
    url: 'http://127.0.0.1:8080/push/-/command',
    shown: 'http://ci@127.0.0.1:8080/push/wikibot.git',
  },
]) {
  test(`the git remote ${address} is understood as a server over HTTP, and the address that is shown to people has no password`, () => {
    const server = serverAt('toolforge', address);
    assert.ok(server?.door === 'http');
    assert.deepEqual([server.url.href, server.address, server.tool], [url, shown, 'wikibot']);
  });
}

for (const address of [
  'git@git.example.org:alice/wikibot.git',
  'ssh://git@git.example.org/alice/wikibot.git',
  '/srv/wikibot.git',
  '../wikibot.git',
  'file:///srv/wikibot.git',
  'ssh://alice@host/',
  'ssh://alice@host/Wikibot.git',
  'http://%ff@host/wikibot.git',
  '',
]) {
  test(`the git remote “${address}” is not the address of a tool`, () => {
    assert.equal(serverAt('origin', address), null);
  });
}

for (const address of [
  'ssh://-oProxyCommand=touch%20hacked/wikibot.git',
  'ssh://%2DoProxyCommand=touch/wikibot.git',
  'ssh://-oProxyCommand=touch@host/wikibot.git',
  'ssh://%2DoProxyCommand=touch@host/wikibot.git',
  '-oProxyCommand=touch:wikibot.git',
  '-oProxyCommand=touch@host:wikibot.git',
  'ssh://[-oProxyCommand=touch]/wikibot.git',
  'alice@[-oProxyCommand=touch]:wikibot.git',
  'ssh://host\n-oProxyCommand=touch/wikibot.git',
  "ssh://alice';touch hacked;'@host/wikibot.git",
  'ssh://$(touch)@host/wikibot.git',
  'ssh://alice@host;touch/wikibot.git',
  'http://host\nusername=root/wikibot.git',
]) {
  test(`CVE-2017-1000117: the remote ${JSON.stringify(address)} is refused, so its address never becomes an option of ssh`, () => {
    assert.equal(serverAt('toolforge', address), null);
  });
}

for (const part of ['alice%0aurl=https%3A%2F%2Fother.example', 'alice:a%0dusername=root', 'alice%00']) {
  test(`CVE-2020-5260: the remote http://${part}@host/wikibot.git is refused, so that toolforge-push never asks git for the password of another host`, () => {
    assert.equal(serverAt('toolforge', `http://${part}@host/wikibot.git`), null);
  });
}

test('the server reads the words of a command that comes over SSH unchanged, whatever characters they have', () => {
  const words = [
    ...['run', 'wikibot', '', ' ', "it's", '"quoted"', `'"`, '$HOME', '$(id)', '`id`', '\\', '\\n', '*', '~'],
    ...['-la', '--', 'two\nlines', '\ttab\t', 'a;b&c|d>e', '#none', 'wörds\u00a0', '{a,b}', '!1', 'A=b c'],
  ];
  assert.deepEqual(parseExec(commandText(words)), { kind: 'command', argv: words });
});
