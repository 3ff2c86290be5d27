import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execa } from 'execa';
import { loadOrMakeSecretsKey, SecretsKey } from '../../src/store/secrets.ts';

const root = mkdtempSync(join(tmpdir(), 'secrets-'));
after(() => rmSync(root, { recursive: true, force: true }));
const newFolder = () => mkdtempSync(join(root, 'keys-'));
const secrets = join(import.meta.dirname, '../../src/store/secrets.ts');

test('secrets.key is made once, only its owner can read it, and later starts use the same key', () => {
  const folder = join(newFolder(), 'not', 'there', 'yet');
  const key = loadOrMakeSecretsKey(folder);
  assert.deepEqual(readdirSync(folder), ['secrets.key']);
  assert.equal(statSync(join(folder, 'secrets.key')).mode & 0o777, 0o600);
  assert.equal(readFileSync(join(folder, 'secrets.key')).length, 32);
  assert.equal(loadOrMakeSecretsKey(folder).id, key.id);
  assert.match(key.id, /^[0-9a-f]{16}$/);
});

test('processes that make secrets.key at the same time get the same key', async () => {
  const folder = newFolder();
  const script = `import(${JSON.stringify(secrets)}).then(({ loadOrMakeSecretsKey }) => process.stdout.write(loadOrMakeSecretsKey(${JSON.stringify(folder)}).id))`;
  const ids = await Promise.all(Array.from({ length: 4 }, () => execa(process.execPath, ['-e', script])));
  assert.equal(new Set(ids.map(({ stdout }) => stdout)).size, 1);
  assert.deepEqual(readdirSync(folder), ['secrets.key']);
});

for (const { name, bytes } of [
  { name: 'an empty file', bytes: 0 },
  { name: 'a cut-off key', bytes: 31 },
  { name: 'a longer file', bytes: 33 },
]) {
  test(`the server refuses ${name} as secrets.key, and does not replace it`, () => {
    const folder = newFolder();
    const path = join(folder, 'secrets.key');
    writeFileSync(path, randomBytes(bytes), { mode: 0o600 });
    assert.throws(() => loadOrMakeSecretsKey(folder), { code: 'STORE_KEY' });
    assert.equal(readFileSync(path).length, bytes);
  });
}

test('a secrets.key that every user can read is refused', () => {
  const folder = newFolder();
  loadOrMakeSecretsKey(folder);
  chmodSync(join(folder, 'secrets.key'), 0o644);
  assert.throws(() => loadOrMakeSecretsKey(folder), { code: 'STORE_KEY' });
});

const key = new SecretsKey(randomBytes(32));

for (const text of ['', 'value', 'välue \u{1f600}\n', 'x'.repeat(100_000)]) {
  test(`an encrypted value of ${text.length} characters is decrypted unchanged`, () => {
    assert.equal(key.decrypt(key.encrypt(text, ['wikibot', 'vars']), ['wikibot', 'vars']), text);
  });
}

test('encrypting the same value twice gives different results', () => {
  const sealed = Array.from({ length: 100 }, () => key.encrypt('value', ['a']).toString('hex'));
  assert.equal(new Set(sealed).size, 100);
});

for (const { name, context } of [
  { name: 'another tool', context: ['other', 'v1'] },
  { name: 'another release', context: ['wikibot', 'v2'] },
  { name: 'the context wikibotv1', context: ['wikibotv1'] },
  { name: 'an empty context', context: [] },
]) {
  test(`a value that was encrypted for release v1 of wikibot cannot be decrypted as a value of ${name}`, () => {
    const sealed = key.encrypt('value', ['wikibot', 'v1']);
    assert.throws(() => key.decrypt(sealed, context));
  });
}

test('an encrypted value with any byte changed or cut off is refused', () => {
  const sealed = key.encrypt('value', ['a']);
  for (let index = 0; index < sealed.length; index++) {
    const changed = Buffer.from(sealed);
    changed.writeUInt8((sealed[index] ?? 0) ^ 1, index);
    assert.throws(() => key.decrypt(changed, ['a']), `byte ${index}`);
    assert.throws(() => key.decrypt(sealed.subarray(0, index), ['a']), `length ${index}`);
  }
});

test('decrypting a value with the wrong key fails with STORE_KEY', () => {
  const sealed = new SecretsKey(randomBytes(32)).encrypt('value', ['a']);
  assert.throws(() => key.decrypt(sealed, ['a']), { code: 'STORE_KEY' });
});
