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

/** The entries of a folder of about `size` bytes. Their names begin with `s`. */
function manyEntries(size: number): Buffer {
  const each = submodule('s0000000').length;
  const entries = Array.from({ length: Math.floor(size / each) }, (_, index) =>
    submodule(`s${String(index).padStart(7, '0')}`),
  );
  return Buffer.concat(entries);
}

function treeId(tree: Buffer): Buffer {
  return createHash('sha1').update(`tree ${tree.length}\0`).update(tree).digest();
}

/** A part of a delta that copies the whole base. The base has less than 16 MiB. */
function copyOf(base: Buffer): Buffer {
  return Buffer.of(0xf0, base.length & 255, (base.length >> 8) & 255, base.length >> 16);
}

/** Makes a pack of the folder `base`, and of folders that are stored as differences from `base`. */
function packOf(base: Buffer, deltas: readonly Buffer[]): Buffer {
  const entries = deltas.map((delta) =>
    entry(7, delta.length, Buffer.concat([treeId(base), deflateSync(delta)])),
  );
  const head = Buffer.concat([Buffer.from('PACK'), Buffer.of(0, 0, 0, 2, 0, 0, 0, deltas.length + 1)]);
  const body = Buffer.concat([head, entry(2, base.length, deflateSync(base, { level: 9 })), ...entries]);
  return Buffer.concat([body, createHash('sha1').update(body).digest()]);
}

/** Makes a small pack of a folder with 16 MiB of entries, and `count` deltas that copy it and add one entry each. */
export function packOfFolders(count: number): { readonly pack: Buffer; readonly tree: string } {
  const base = manyEntries(0xffffff);
  const deltas = Array.from({ length: count }, (_, index) => {
    const last = submodule(`t${index}`);
    const sizes = [varint(base.length), varint(base.length + last.length)];
    return Buffer.concat([...sizes, copyOf(base), Buffer.of(last.length), last]);
  });
  return { pack: packOf(base, deltas), tree: treeId(base).toString('hex') };
}

/**
 * Makes a small pack of a folder with 4 MiB of entries, and `depth` such folders around it, each inside the next. git
 * keeps a folder in memory while it reads the folders below.
 */
export function packOfNestedFolders(depth: number): { readonly pack: Buffer; readonly tree: string } {
  const base = manyEntries(4 * 1024 ** 2);
  const deltas: Buffer[] = [];
  let tree = treeId(base);
  for (let level = 0; level < depth; level += 1) {
    const first = Buffer.concat([Buffer.from('40000 a\0'), tree]);
    const sizes = [varint(base.length), varint(base.length + first.length)];
    deltas.push(Buffer.concat([...sizes, Buffer.of(first.length), first, copyOf(base)]));
    tree = treeId(Buffer.concat([first, base]));
  }
  return { pack: packOf(base, deltas), tree: tree.toString('hex') };
}
