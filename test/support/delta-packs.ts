import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';

/** Returns an entry of a folder for a submodule. git does not look up the object of such an entry. */
function submodule(name: string): Buffer {
  return Buffer.concat([Buffer.from(`160000 ${name}\0`), Buffer.alloc(20, 1)]);
}

/** The bytes of a number in a pack: seven bits each, the lowest first. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}

/** @see https://git-scm.com/docs/pack-format */
function entry(type: number, length: number, body: Buffer): Buffer {
  const head = Buffer.concat([
    Buffer.of((type << 4) | (length & 15) | 0x80),
    varint(Math.floor(length / 16)),
  ]);
  return Buffer.concat([head, body]);
}

/** Makes a small pack of a folder with 16 MiB of entries, and `count` deltas that copy it and add one entry each. */
export function packOfFolders(count: number): { readonly pack: Buffer; readonly tree: string } {
  const size = 0xffffff;
  const each = submodule('s0000000').length;
  const entries = Array.from({ length: Math.floor(size / each) }, (_, index) =>
    submodule(`s${String(index).padStart(7, '0')}`),
  );
  const base = Buffer.concat(entries);
  const tree = createHash('sha1').update(`tree ${base.length}\0`).update(base).digest();
  const deltas = Array.from({ length: count }, (_, index) => {
    const last = submodule(`t${index}`);
    const copy = Buffer.of(0xf0, base.length & 255, (base.length >> 8) & 255, base.length >> 16);
    const sizes = [varint(base.length), varint(base.length + last.length)];
    const delta = Buffer.concat([...sizes, copy, Buffer.of(last.length), last]);
    return entry(7, delta.length, Buffer.concat([tree, deflateSync(delta)]));
  });
  const head = Buffer.concat([Buffer.from('PACK'), Buffer.of(0, 0, 0, 2, 0, 0, 0, count + 1)]);
  const body = Buffer.concat([head, entry(2, base.length, deflateSync(base, { level: 9 })), ...deltas]);
  const pack = Buffer.concat([body, createHash('sha1').update(body).digest()]);
  return { pack, tree: tree.toString('hex') };
}
