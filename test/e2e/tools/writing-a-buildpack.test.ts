import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { WorkTree } from '../../support/work-tree.ts';

const root = resolve(import.meta.dirname, '../../..');
const MAX_LINES = 50;

/** The files of the page's example. The first or second line of each code block is a comment with the file's path. */
async function exampleFiles(): Promise<Map<string, string>> {
  const page = await readFile(join(root, 'docs/writing-a-buildpack.md'), 'utf8');
  const files = new Map<string, string>();
  for (const [, block = ''] of page.matchAll(/^```\w+\n(.*?)^```$/gms)) {
    const [, path] = /^(?:#!.*\n)?# (\S+)\n/.exec(block) ?? [];
    assert.ok(path, `this code block has no path: ${block}`);
    files.set(path, block);
  }
  return files;
}

async function writeInto(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, text] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
    if (text.startsWith('#!')) await chmod(join(folder, path), 0o755);
  }
}

test('the buildpack in docs/writing-a-buildpack.md has fewer than fifty lines', async () => {
  const texts = [...(await exampleFiles())].filter(([path]) => path.startsWith('tcl-buildpack/'));
  assert.equal(texts.length, 3);
  const lines = texts.flatMap(([, text]) => text.trimEnd().split('\n'));
  assert.ok(lines.length < MAX_LINES, `${lines.length} lines`);
});

test('the example of docs/writing-a-buildpack.md can be tried and pushed, and answers', async () => {
  const files = await exampleFiles();
  await using server = await TestServer.start();
  await server.addTool('tcl');
  const tree = await WorkTree.create(server, 'ssh', 'tcl');
  await writeInto(tree.folder, files);
  const tried = await server.local('buildpack', 'try', join(tree.folder, 'tcl-buildpack'), tree.folder);
  assert.equal(tried.exitCode, 0, tried.stderr);
  assert.match(tried.stdout, /^ {2}apt +\{ "packages": \["tcl"\] \}$/m);
  assert.match(tried.stdout, /^ {2}example\/tcl:tcl +launch build$/m);
  assert.match(tried.stdout, /^ {2}web +default +tclsh server\.tcl$/m);
  assert.match(tried.stdout, /^ {2}TCL_LIBRARY=\S+\/tcl8/m);
  await tree.commit('a tool in Tcl', {});
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /tcl \(server\.tcl\)/);
  const { status, body } = await server.get('tcl');
  assert.deepEqual([status, body.trim().replace(/\d+\.\d+/, 'X')], [200, 'Hello from Tcl X']);
});
