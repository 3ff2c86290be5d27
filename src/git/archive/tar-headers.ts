import type { DeployError } from '../../core/errors.ts';
import { badEntry } from './archive-paths.ts';
import { notAnArchive } from './decompress.ts';

/** tar(5): a tar is made of blocks of this size. Each entry begins with a block that is its header. */
export const BLOCK_BYTES = 512;

/**
 * The header of an entry. A header of type `long` is no entry: its content describes the next entry, such as a long
 * name.
 */
export interface BlockHeader {
  readonly type: 'file' | 'folder' | 'symlink' | 'hard-link' | 'device' | 'sparse' | 'unknown' | 'long';
  /** The character that stands for the type in the tar. */
  readonly flag: string;
  readonly name: string;
  /** The target of a link. */
  readonly target: string;
  readonly mode: number;
  /** How many bytes follow the header, without the zeros that fill the last block. */
  readonly size: number;
}

const TYPES: Readonly<Record<string, BlockHeader['type']>> = {
  ...{ '0': 'file', '\0': 'file', '7': 'file', '1': 'hard-link', '2': 'symlink', '5': 'folder' },
  ...{ '3': 'device', '4': 'device', '6': 'device', S: 'sparse' },
  ...{ x: 'long', g: 'long', L: 'long', N: 'long', K: 'long' },
};

/**
 * Reads a header of POSIX (ustar, pax) or GNU tar.
 *
 * @returns null if the block is no header, or if it is damaged.
 */
export function readHeader(block: Buffer): BlockHeader | null {
  const magic = block.toString('latin1', 257, 265);
  if (!magic.startsWith('ustar\0') && magic !== 'ustar  \0') return null;
  const [sum, size, mode] = [number(block, 148, 8), number(block, 124, 12), number(block, 100, 8)];
  if (sum !== checksum(block) || size === null || mode === null) return null;
  const prefix = magic.startsWith('ustar\0') ? text(block, 345, 155) : '';
  const name = `${prefix}${prefix === '' ? '' : '/'}${text(block, 0, 100)}`;
  const flag = block.toString('latin1', 156, 157);
  return { type: TYPES[flag] ?? 'unknown', flag, name, target: text(block, 157, 100), mode, size };
}

/**
 * Collects what the long headers of GNU and pax tars say about the next entry: its path, its link target, its size, and
 * whether the entry is sparse.
 */
export class LongNames {
  #path: string | null = null;
  #target: string | null = null;
  #size: string | null = null;
  #isSparse = false;

  /**
   * Remembers what a header of type `long` says about the next entry, such as a long name. `content` is what follows
   * this header in the tar.
   *
   * @throws DeployError `BAD_ARCHIVE` if the header sets a name or a size for all entries; `NOT_AN_ARCHIVE` if it is
   * damaged.
   */
  take({ flag, name }: BlockHeader, content: Buffer): void {
    switch (flag) {
      case 'L':
      case 'N':
        this.#path = text(content, 0, content.length);
        return;
      case 'K':
        this.#target = text(content, 0, content.length);
        return;
      case 'g':
        // Refuse a header that sets names or sizes for all entries. `git archive` writes such a header with only a
        // comment, and no program that makes a tar of a folder sets names there.
        for (const [key] of paxRecords(content))
          if (/^(path|linkpath|size|GNU\.sparse\..*)$/.test(key))
            throw badEntry(name, `sets ${key} for all entries`, 'Make the archive by: tar cz .');
        return;
      default:
        for (const [key, value] of paxRecords(content)) {
          if (key === 'path') this.#path = value;
          else if (key === 'linkpath') this.#target = value;
          else if (key === 'size') this.#size = value;
          else if (key.startsWith('GNU.sparse.')) this.#isSparse = true;
        }
    }
  }

  /**
   * Returns the header with the path, the link target and the size that the long headers before it gave, and forgets
   * these.
   *
   * @throws DeployError `NOT_AN_ARCHIVE` if the size of the entry is no number.
   */
  apply(header: BlockHeader): BlockHeader {
    const name = this.#path ?? header.name;
    const target = this.#target ?? header.target;
    const size = this.#size === null ? header.size : decimal(this.#size);
    // Take a name that ends with a slash for a folder, because an old tar has no type for folders.
    const isFolder = header.type === 'folder' || (header.flag === '\0' && name.endsWith('/'));
    const type = this.#isSparse ? 'sparse' : isFolder ? 'folder' : header.type;
    [this.#path, this.#target, this.#size, this.#isSparse] = [null, null, null, false];
    // Set the size to 0, because no content follows a folder or a hard link, whatever size its header names.
    if (type === 'folder' || type === 'hard-link') return { ...header, type, name, target, size: 0 };
    if (size === null) throw damaged();
    return { ...header, type, name, target, size };
  }
}

/**
 * Yields those records of a pax header whose keys are in `HEEDED`. The header is made of lines `LENGTH KEY=VALUE`.
 *
 * @throws DeployError `NOT_AN_ARCHIVE` if a line has another form.
 */
function* paxRecords(content: Buffer): Generator<readonly [key: string, value: string]> {
  for (let from = 0; from < content.length; ) {
    let [at, length] = [from, 0];
    for (; content[at] !== SPACE; at += 1) {
      const digit = (content[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) throw damaged();
      length = length * 10 + digit;
    }
    const end = from + length - 1;
    if (end <= at || content[end] !== LINE_FEED) throw damaged();
    // Decode only the records whose keys are in `HEEDED`, because a hostile header may have thousands of others.
    if (isHeeded(content, at + 1)) {
      const record = content.toString('utf8', at + 1, end);
      const [key = ''] = record.split('=', 1);
      yield [key, record.slice(key.length + 1)];
    }
    from = end + 1;
  }
}

const [SPACE, ZERO, LINE_FEED] = [0x20, 0x30, 0x0a];
/** The beginnings of the records that `LongNames` uses. */
const HEEDED = ['path=', 'linkpath=', 'size=', 'GNU.sparse.'].map((key) => Buffer.from(key));

function isHeeded(content: Buffer, at: number): boolean {
  return HEEDED.some((key) => key[0] === content[at] && content.subarray(at, at + key.length).equals(key));
}

/** Decodes a text up to its first NUL. Bytes that are not UTF-8 become U+FFFD. */
function text(block: Buffer, from: number, length: number): string {
  const end = block.subarray(from, from + length).indexOf(0);
  return block.toString('utf8', from, from + (end < 0 ? length : end));
}

/**
 * Reads an octal number, or a binary number of GNU tar. Null if the field has neither, or if the number is negative or
 * too large.
 */
function number(block: Buffer, from: number, length: number): number | null {
  if (block[from] === 0x80) {
    const value = BigInt(`0x${block.toString('hex', from + 1, from + length)}`);
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : null;
  }
  const digits = /^[ \0]*([0-7]*)(?:[ \0]|$)/.exec(block.toString('latin1', from, from + length))?.[1];
  return digits === undefined ? null : Number.parseInt(digits || '0', 8);
}

function decimal(digits: string): number | null {
  return /^\d{1,15}$/.test(digits) ? Number(digits) : null;
}

function damaged(): DeployError {
  return notAnArchive('a header is damaged');
}

/** Returns the sum of all bytes of a header. The eight bytes that hold the checksum count as spaces. */
function checksum(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK_BYTES; at += 1) if (at < 148 || at >= 156) sum += block[at] ?? 0;
  return sum;
}
