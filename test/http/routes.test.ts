import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathOf, type Route, routeOf } from '../../src/http/routes.ts';
import { nameOf } from '../support/store-records.ts';

const upload = { kind: 'advertisement', name: 'hello', service: 'upload-pack' } as const;
const clone = { kind: 'repository', name: nameOf('hello') } as const;
const push = { kind: 'git', name: 'hello', service: 'receive-pack' } as const;

for (const { method, target, route } of [
  { method: 'GET', target: '/', route: { kind: 'landing' } },
  { method: 'HEAD', target: '/healthz', route: { kind: 'health' } },
  { method: 'GET', target: '/readyz', route: { kind: 'ready' } },
  { method: 'GET', target: '/livez', route: { kind: 'live' } },
  { method: 'POST', target: '/-/command', route: { kind: 'command' } },
  { method: 'GET', target: '/hello.git', route: clone },
  { method: 'GET', target: '/hello.git/', route: clone },
  { method: 'POST', target: '/hello.git', route: { kind: 'nothing' } },
  { method: 'GET', target: '/%68ello.git', route: { kind: 'nothing' } },
  { method: 'GET', target: '/hello.git/info/refs?service=git-upload-pack', route: upload },
  { method: 'GET', target: '/hello/info/refs?service=git-upload-pack', route: upload },
  { method: 'GET', target: 'http://evil.example/hello/info/refs?service=git-upload-pack', route: upload },
  { method: 'POST', target: '/hello.git/git-receive-pack', route: push },
  { method: 'POST', target: '/hello/git-receive-pack', route: push },
  { method: 'POST', target: '/hello.git.git/git-receive-pack', route: { ...push, name: 'hello.git' } },
  { method: 'POST', target: '/%68ello/git-receive-pack', route: { ...push, name: '%68ello' } },
  { method: 'GET', target: '/hello.git/git-receive-pack', route: { kind: 'wrong-method', allow: 'POST' } },
  { method: 'GET', target: '/-/command', route: { kind: 'wrong-method', allow: 'POST' } },
  { method: 'DELETE', target: '/', route: { kind: 'wrong-method', allow: 'GET, HEAD' } },
] satisfies { method: string; target: string; route: Route }[]) {
  test(`an HTTP request ${method} ${target} has the route ${route.kind}`, () =>
    assert.deepEqual(routeOf(method, target), route));
}

for (const target of [
  '/hello.git/info/refs',
  '/hello.git/info/refs?service=git-upload-archive',
  '/hello.git/info/refs?service=git-upload-pack&service=git-receive-pack',
  '/hello.git/info/refs?service=upload-pack',
  '/hello.git/HEAD',
  '/hello.git/config',
  '/hello.git/packed-refs',
  '/hello.git/objects/info/packs',
  '/hello.git/objects/00/0000000000000000000000000000000000000',
  '/hello.git/hooks/post-receive',
  '/hello.git/refs/heads/main',
  '/hello.git/git-upload-archive',
  '/hello.git/git-receive-pack/',
  '/a/hello.git/info/refs?service=git-upload-pack',
  '//hello.git/info/refs?service=git-upload-pack',
  '/../hello.git/git-upload-pack',
  '*',
  'hello.git/git-upload-pack',
  '',
]) {
  test(`threat 28: an HTTP request for ${target} has no route`, () => {
    for (const method of ['GET', 'POST', 'HEAD'])
      assert.deepEqual(routeOf(method, target), { kind: 'nothing' });
  });
}

test('threat 15: the path of a request in the server’s log has no query, no user and no host', () => {
  assert.equal(pathOf('/hello.git/info/refs?token=secret'), '/hello.git/info/refs');
  assert.equal(pathOf('http://alice:secret@host/hello.git?x=secret'), '/hello.git');
  assert.equal(pathOf('alice:secret@host'), '*');
});
