import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';

/** Makes packs of version 2 with objects that git would not write. @see https://git-scm.com/docs/gitformat-pack */
export class HandMadePack {
  readonly #entries: Buffer[] = [];

  /** Adds an object. @returns its id. */
  add(type: 'commit' | 'tree' | 'blob', body: Buffer): string {
    this.#entries.push(Buffer.concat([head(TYPES[type], body.length), deflateSync(body)]));
    return createHash('sha1').update(`${type} ${body.length}\0`).update(body).digest('hex');
  }

  /** Adds a delta that repeats the object `base` `count` times. */
  addRepeated(base: string, baseBytes: number, count: number): void {
    const copies = Buffer.alloc(4 * count, Buffer.of(0xf0, 0xff, 0xff, 0xff));
    const delta = Buffer.concat([varint(baseBytes), varint(baseBytes * count), copies]);
    this.#entries.push(Buffer.concat([head(7, delta.length), Buffer.from(base, 'hex'), deflateSync(delta)]));
  }

  /** Adds a commit of this tree. */
  addCommit(tree: string, parent: string | null = null): string {
    const by = 'a <a@b.c> 0 +0000';
    const parents = parent === null ? '' : `parent ${parent}\n`;
    return this.add('commit', Buffer.from(`tree ${tree}\n${parents}author ${by}\ncommitter ${by}\n\nx\n`));
  }

  /** Adds a tree with exactly these entries. */
  addTree(entries: readonly (readonly [mode: string, name: string, id: string])[]): string {
    const parts = entries.flatMap(([mode, name, id]) => [
      Buffer.from(`${mode} ${name}\0`),
      Buffer.from(id, 'hex'),
    ]);
    return this.add('tree', Buffer.concat(parts));
  }

  /** Returns the whole pack. @param count - The number of objects that the header of the pack claims. */
  bytes(count: number = this.#entries.length): Buffer {
    const start = Buffer.from('PACK\0\0\0\u0002\0\0\0\0', 'latin1');
    start.writeUInt32BE(count, 8);
    const body = Buffer.concat([start, ...this.#entries]);
    return Buffer.concat([body, createHash('sha1').update(body).digest()]);
  }
}

const TYPES = { commit: 1, tree: 2, blob: 3 } as const;

function head(type: number, bytes: number): Buffer {
  const first = (type << 4) | (bytes & 15);
  return bytes < 16 ? Buffer.of(first) : Buffer.concat([Buffer.of(first | 0x80), varint(bytes >> 4)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}
