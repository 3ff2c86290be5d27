import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { execa } from 'execa';

const ROOT = resolve(import.meta.dirname, '../..');
// A phone can show this many columns. At this width, the line that says what is live is wrapped before the times of
// build and rollout.
const COLUMNS = 63;
const MARGIN = 14;

// `npm run demo:picture`: docs/push.svg shows the second push of the demo, which needs fewer columns than the first.
const { stdout } = await execa(process.execPath, [resolve(ROOT, 'src/demo.ts')], { stderr: 'inherit' });
const push = /\n# A change, .*\n([\s\S]*?)\n\n# /.exec(stdout)?.[1];
if (push === undefined) throw new Error('the demo has no second push');
// git pads each line with spaces, to overwrite what a terminal showed there.
const input = push.replace(/ +$/gm, '');
const options = ['--format', 'svg', '--theme', 'vscode', '--mode', 'dark', '--width', String(COLUMNS)];
const { stdout: picture } = await execa('ansi2', options, { preferLocal: true, localDir: ROOT, input });
const [opening, width, height] = /^<svg width="(\d+)" height="(\d+)"/.exec(picture) ?? [];
if (opening === undefined) throw new Error('ansi2 draws in another way');
// The changes to the picture: a margin, a size that follows the width of the page, a title for screen readers, and a
// font for machines without the fonts that the program ansi2 names. Viewers other than browsers also need `xml:space`
// and the background as attributes.
const box = [-MARGIN, -MARGIN, Number(width) + 2 * MARGIN, Number(height) + 2 * MARGIN];
const adapted = picture
  .replace(
    opening,
    `<svg xml:space="preserve" viewBox="${box.join(' ')}" width="${box[2]}" height="${box[3]}"`,
  )
  .replace(
    '>',
    '><title>A push in a terminal</title><rect x="-50%" y="-50%" width="200%" height="200%" fill="#181818"/>',
  )
  .replace('Monaco;', 'Monaco,monospace;');
await writeFile(resolve(ROOT, 'docs/push.svg'), `${adapted}\n`);
