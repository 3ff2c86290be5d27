import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const MAX_LINES = 50;

/** The files of the page's example. The first or second line of their code blocks is a comment with the file's path. */
async function exampleFiles(): Promise<Map<string, string>> {
  const page = await readFile(join(root, 'docs/writing-a-buildpack.md'), 'utf8');
  const files = new Map<string, string>();
  for (const [, block = ''] of page.matchAll(/^```\w+\n(.*?)^```$/gms)) {
    const [, path] = /^(?:#!.*\n)?# (\S+)\n/.exec(block) ?? [];
    if (path !== undefined) files.set(path, block);
  }
  return files;
}

test('the buildpack in docs/writing-a-buildpack.md has fewer than fifty lines', async () => {
  const texts = [...(await exampleFiles())].filter(([path]) => path.startsWith('tcl-buildpack/'));
  assert.equal(texts.length, 3);
  const lines = texts.flatMap(([, text]) => text.trimEnd().split('\n'));
  assert.ok(lines.length < MAX_LINES, `${lines.length} lines`);
});
