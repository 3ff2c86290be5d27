import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byDigest, parseReference } from '../../../src/builder/registry/image-reference.ts';

const digest = `sha256:${'0a'.repeat(32)}`;

for (const [text, host, name, tag, isByDigest] of [
  ['debian', 'docker.io', 'library/debian', 'latest', false],
  ['heroku/builder:24', 'docker.io', 'heroku/builder', '24', false],
  ['docker.io/library/debian:bookworm-slim', 'docker.io', 'library/debian', 'bookworm-slim', false],
  ['localhost/x', 'localhost', 'x', 'latest', false],
  ['10.0.0.1:5000/a/b-c__d.e:T_1.x', '10.0.0.1:5000', 'a/b-c__d.e', 'T_1.x', false],
  [`registry.example.org/a@${digest}`, 'registry.example.org', 'a', null, true],
  [`registry.example.org/a:v1@${digest}`, 'registry.example.org', 'a', 'v1', true],
] as const) {
  test(`the image reference ${text} is parsed into its host, name, tag and digest`, () => {
    assert.deepEqual(parseReference(text), { host, name, tag, digest: isByDigest ? digest : null });
  });
}

for (const text of [
  '',
  'UPPER/case',
  'a b',
  'registry.example.org/',
  'registry.example.org/a:',
  'a@sha256:abc',
  `a@${digest}@${digest}`,
  'registry.example.org/a/../b',
  'a:tag/b',
]) {
  test(`${JSON.stringify(text)} is not an image reference`, () => {
    assert.throws(() => parseReference(text), { code: 'BAD_IMAGE' });
  });
}

test('an image reference that is made from a digest has no tag', () => {
  assert.equal(byDigest({ host: 'h.example', name: 'a/b' }, digest), `h.example/a/b@${digest}`);
});
