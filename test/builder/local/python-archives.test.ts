import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { pythonArchives } from '../../../src/builder/local/python-archives.ts';

async function archives(t: TestContext, mode: number) {
  const root = await mkdtemp(join(tmpdir(), 'pythons-'));
  t.after(() => rm(root, { recursive: true }));
  await chmod(root, 0o755);
  const folder = join(root, 'kept/pythons');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'python.tar.gz'), 'an archive', { mode: 0o600 });
  await writeFile(join(folder, 'secret'), 'not in the list');
  const url = pathToFileURL(join(folder, 'python.tar.gz')).href;
  const gone = pathToFileURL(join(folder, 'gone.tar.gz')).href;
  await writeFile(join(folder, 'downloads.json'), JSON.stringify({ one: { url }, two: { url: gone } }));
  await chmod(join(root, 'kept'), mode);
  return { folder, list: join(folder, 'downloads.json'), data: join(root, 'data') };
}

for (const [what, given] of [
  ['a path', (list: string) => list],
  ['a file: URL', (list: string) => pathToFileURL(list).href],
] as const) {
  test(`if UV_PYTHON_DOWNLOADS_JSON_URL names a list of Pythons by ${what}, builds see the folder of the list`, async (t) => {
    const { folder, list, data } = await archives(t, 0o711);
    const mounts = await pythonArchives(
      { UV_PYTHON_DOWNLOADS_JSON_URL: given(list) },
      { data, hasUsers: true },
    );
    assert.deepEqual(mounts, [{ source: folder, target: folder, isWritable: false }]);
  });
}

test('if the users of tools cannot reach a list of Pythons, builds see a copy of the list and of its archives', async (t) => {
  const { folder, list, data } = await archives(t, 0o700);
  const operator = { UV_PYTHON_DOWNLOADS_JSON_URL: list };
  const copy = join(data, 'pythons');
  const archive = async () => await stat(join(copy, 'python.tar.gz'));
  const mounts = await pythonArchives(operator, { data, hasUsers: true });
  assert.deepEqual(mounts, [{ source: copy, target: folder, isWritable: false }]);
  assert.deepEqual((await readdir(copy)).sort(), ['downloads.json', 'python.tar.gz']);
  const first = await archive();
  assert.equal(first.mode & 0o777, 0o644);
  await pythonArchives(operator, { data, hasUsers: true });
  assert.equal((await archive()).ino, first.ino, 'copied although nothing has changed');
  await writeFile(join(folder, 'python.tar.gz'), 'a newer archive');
  await pythonArchives(operator, { data, hasUsers: true });
  assert.equal((await archive()).size, 'a newer archive'.length);
});

test('a folder of Pythons that does not exist is not shown to builds', async () => {
  const operator = {
    UV_PYTHON_INSTALL_MIRROR: 'file:///nothing/here',
    UV_PYTHON_DOWNLOADS_JSON_URL: '/a.json',
  };
  assert.deepEqual(await pythonArchives(operator, { data: '/nothing', hasUsers: true }), []);
});
