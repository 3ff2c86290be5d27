import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { execa } from 'execa';

const ROOT = resolve(import.meta.dirname, '../../..');

test("the demo ignores settings, proxies and git configuration of the person who starts it, and prints all words of the README's picture", async () => {
  const home = await mkdtemp(join(tmpdir(), 'demo-'));
  try {
    await writeFile(join(home, '.gitconfig'), '[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = false\n');
    const { exitCode, all } = await execa(process.execPath, [resolve(ROOT, 'src/demo.ts')], {
      env: {
        HOME: home,
        http_proxy: 'http://127.0.0.1:9',
        TOOLFORGE_PUSH_PUBLIC_SSH: '127.0.0.1:9',
        TOOLFORGE_PUSH_PUBLIC_URL: 'http://127.0.0.1:9',
        TOOLFORGE_PUSH_DEPLOY_BRANCH: 'production',
      },
      reject: false,
      all: true,
    });
    assert.equal(exitCode, 0, all);
    assert.match(all, /Hello from Toolforge[\s\S]*Hello again[\s\S]*Two pushes live, one rejected/);
    const picture = await readFile(resolve(ROOT, 'docs/push.svg'), 'utf8');
    const printed = wordsOf(stripVTControlCharacters(all));
    assert.deepEqual(
      wordsOf(textOf(picture)).difference(printed),
      new Set(),
      '`npm run demo:picture` makes it again',
    );
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});

/** The text of an SVG picture of a terminal. */
function textOf(picture: string): string {
  const text = picture.replace(/^.*?<\/style>/s, '').replace(/<\/text>/g, '\n');
  return text
    .replace(/<[^>]*>/g, '')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}

/** The words of a text. Commits, ports and times are different in each demo, so they count as equal. */
function wordsOf(text: string): Set<string> {
  const plain = text.replace(/\b[0-9a-f]{7}\b/g, 'COMMIT').replace(/\d+/g, '0');
  return new Set(plain.split(/\s+/));
}
