import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { SourceOffers } from '../../../src/builder/kubernetes/source-offers.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'source-'));
  await mkdir(join(folder, 'sub folder'));
  await writeFile(join(folder, 'sub folder/-n'), 'text');
  await writeFile(join(folder, '-rf'), 'leading dash');
  await writeFile(join(folder, 'run.sh'), 'x', { mode: 0o755 });
  await symlink('/etc/passwd', join(folder, 'link'));
});
after(() => rm(folder, { recursive: true }));

const signal = new AbortController().signal;

test('a build gets the archive of its source only once, with odd names, links and modes unchanged', async () => {
  const offers = new SourceOffers();
  const { token } = offers.offer(folder, 60_000);
  const open = offers.take(token);
  assert.ok(open !== null);
  assert.equal(offers.take(token), null);
  const target = await mkdtemp(join(tmpdir(), 'unpacked-'));
  await execa('tar', ['-x', '-f', '-', '-C', target], { input: await buffer(open(signal)) });
  assert.deepEqual((await readdir(target)).sort(), ['-rf', 'link', 'run.sh', 'sub folder']);
  assert.equal(await readFile(join(target, 'sub folder/-n'), 'utf8'), 'text');
  // The archive has the link, not its target.
  assert.equal(await readlink(join(target, 'link')), '/etc/passwd');
  assert.ok(((await stat(join(target, 'run.sh'))).mode & 0o100) !== 0);
  await rm(target, { recursive: true });
});

test('a file name that is not UTF-8 is unchanged in the archive of a source', async () => {
  const odd = await mkdtemp(join(tmpdir(), 'odd-'));
  const name = Buffer.from([0x63, 0x61, 0x66, 0xe9]);
  await writeFile(Buffer.concat([Buffer.from(`${odd}/`), name]), 'text');
  const offers = new SourceOffers();
  const open = offers.take(offers.offer(odd, 60_000).token);
  const { stdout } = await execa('tar', ['-t', '-f', '-', '--quoting-style=literal'], {
    input: await buffer(open?.(signal) ?? Readable.from([])),
    encoding: 'buffer',
  });
  assert.deepEqual(Buffer.from(stdout), name);
  await rm(odd, { recursive: true });
});

test('the token for a source is refused if it has expired, if its build has ended, or if it is unknown', async () => {
  const offers = new SourceOffers();
  assert.equal(offers.take(offers.offer(folder, -1).token), null);
  const offer = offers.offer(folder, 60_000);
  offer[Symbol.dispose]();
  assert.equal(offers.take(offer.token), null);
  assert.equal(offers.take('x'.repeat(43)), null);
});

test('tokens for sources are long and unique', () => {
  const offers = new SourceOffers();
  const tokens = Array.from({ length: 100 }, () => offers.offer(folder, 1000).token);
  assert.equal(new Set(tokens).size, 100);
  assert.ok(tokens.every((token) => /^[\w-]{43}$/.test(token)));
});

test('if a source was deleted before its build fetches it, the archive cannot be opened', async () => {
  const gone = await mkdtemp(join(tmpdir(), 'gone-'));
  const offers = new SourceOffers();
  const open = offers.take(offers.offer(gone, 1000).token);
  await writeFile(join(gone, 'file'), 'x'.repeat(1_000_000));
  await rm(gone, { recursive: true });
  assert.throws(() => open?.(signal), { code: 'ENOENT' });
});
