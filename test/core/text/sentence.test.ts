import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sentence } from '../../../src/core/text/sentence.ts';

for (const { message, shown } of [
  { message: 'the store is damaged', shown: 'The store is damaged.' },
  { message: 'The store is damaged.', shown: 'The store is damaged.' },
  { message: 'web.1 exited with code 1', shown: 'web.1 exited with code 1.' },
  { message: 'v41 is still live', shown: 'v41 is still live.' },
  { message: 'secrets.key has 5 bytes', shown: 'secrets.key has 5 bytes.' },
  { message: '/srv/data cannot be read', shown: '/srv/data cannot be read.' },
  { message: 'build failed: pip exited 1', shown: 'Build failed: pip exited 1.' },
  { message: 'a quota is full. Ask for more', shown: 'A quota is full. Ask for more.' },
  { message: 'the server says why:', shown: 'The server says why:' },
  { message: 'no file. See https://example.org/a', shown: 'No file. See https://example.org/a' },
]) {
  test(`the message “${message}” is shown to people as “${shown}”`, () => {
    assert.equal(sentence(message), shown);
  });
}
