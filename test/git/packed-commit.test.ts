import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execa } from 'execa';
import { removeTree } from '../../src/core/disk/remove-tree.ts';
import type { CommitId } from '../../src/core/names.ts';
import { packedSubject } from '../../src/git/packed-commit.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { wikibot } from '../support/store-records.ts';

const folder = await mkdtemp(join(tmpdir(), 'packed-commit-'));
after(() => removeTree(folder));
const repositories = new Repositories({ folder, path: process.env['PATH'] ?? '', deployBranch: 'main' });
await repositories.ensure(wikibot);

const head = (more = '') =>
  `tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n${more}\n`;

/** Stores a commit with these bytes, also in a pack of its own, as a push does. @returns the commit's id. */
async function commit(bytes: string): Promise<CommitId> {
  const options = { cwd: repositories.folder(wikibot), input: Buffer.from(bytes) };
  const { stdout: id } = await execa('git', ['hash-object', '-t', 'commit', '-w', '--stdin'], options);
  await execa('git', ['pack-objects', '-q', 'objects/pack/pack'], { ...options, input: `${id}\n` });
  return id as CommitId;
}

for (const [name, bytes] of Object.entries({
  'one line': `${head()}Add a page\n`,
  'several paragraphs': `${head()}\n\nAdd a page\nand a link \n \t\nMore\n\nEven more\n`,
  'Windows line ends': `${head()}Add a page\r\n\r\nMore\r\n`,
  'no text': head(),
  'other letters': `${head()}Šablona für 日本語\n`,
  'a signature': `${head('gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n')}Signed\n`,
})) {
  test(`the server reads the subject of a commit from a pack as git shows it, for a commit message with ${name}`, async () => {
    const id = await commit(bytes);
    const { stdout } = await execa('git', ['log', '-1', '--format=%s', id], {
      cwd: repositories.folder(wikibot),
    });
    assert.equal(await packedSubject(repositories, wikibot, id), stdout.trimEnd());
  });
}

test('`packedSubject` returns null for a commit that is not UTF-8, is very long or is not in the newest pack, and for a tree', async () => {
  const unread = (id: CommitId) => packedSubject(repositories, wikibot, id);
  assert.equal(await unread(await commit(`${head('encoding ISO-8859-1\n')}One\n`)), null);
  assert.equal(await unread(await commit(`${head()}${'long '.repeat(20_000)}\n`)), null);
  const older = await commit(`${head()}Older\n`);
  const newer = await commit(`${head()}Newer\n`);
  assert.deepEqual([await unread(older), await unread(newer)], [null, 'Newer']);
  assert.equal(await unread('4b825dc642cb6eb9a060e54bf8d69288fbee4904' as CommitId), null);
});
