import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { clean } from '../progress.ts';
import { ByteSearch, type Pattern } from './byte-search.ts';
import { type Decoded, fromBase64, withoutBackslashes, withoutPercents } from './decoded-text.ts';

/** Replaces secrets in one line by their names. */
export type Mask = (text: string) => string;

/** Shorter values are words of everyday output. */
const MIN_SECRET_CHARACTERS = 6;
/** A longer value of several lines is found line by line only. */
const MAX_WHOLE_BYTES = 4096;
/** A line of base64 with 76 digits shows 57 bytes of a value, and two whole blocks of this size at least. */
const BLOCK_BYTES = 16;
/** A block of fewer different bytes is a line under a title, or padding. */
const MIN_DIFFERENT_BYTES = 6;

/**
 * A function that replaces the values of config vars by their names: the values themselves, and each line of those
 * with several. It finds them also as URLs, JSON and base64 write them, within longer base64, in base64 over several
 * lines, and with colours in them. Of secrets that overlap, nothing is left. It does not find lines of less than six
 * characters, as everyday output has them too.
 *
 * Its time grows with the line alone. What it finds secrets with is shared by all that have the same config vars.
 */
export async function masking(configVars: Readonly<Record<string, string>>): Promise<Mask> {
  const secrets = await secretsOf(configVars);
  if (secrets === null) return (text) => text;
  return (text) => {
    if (!CONTROL.test(text)) return secrets.mask(text);
    const plain = stripped(text);
    const masked = secrets.mask(plain);
    const coloured = secrets.mask(text);
    return masked === plain || stripped(coloured) === masked ? coloured : masked;
  };
}

const CONTROL = /(?![\t\n])\p{Cc}/u;

function stripped(text: string): string {
  return stripVTControlCharacters(clean(text));
}

const shared = new Map<string, WeakRef<Secrets>>();
const forget = new FinalizationRegistry<string>((digest) => {
  if (shared.get(digest)?.deref() === undefined) shared.delete(digest);
});

async function secretsOf(configVars: Readonly<Record<string, string>>): Promise<Secrets | null> {
  const digest = createHash('sha256').update(JSON.stringify(configVars)).digest('base64');
  const known = shared.get(digest)?.deref();
  if (known !== undefined) return known;
  const names = Object.keys(configVars);
  const values = Object.values(configVars);
  const patterns = await patternsOf(values);
  if (patterns.length === 0) return null;
  const leastBytes = patterns.reduce(
    (least, { bytes }) => Math.min(least, bytes.length),
    Number.MAX_SAFE_INTEGER,
  );
  const blocks = await blocksOf(values);
  const made = new Secrets({
    names,
    search: await ByteSearch.of(patterns),
    blocks,
    blockSearch: await ByteSearch.of(blocks.map(({ bytes }, label) => ({ bytes, label }))),
    leastBytes,
  });
  shared.set(digest, new WeakRef(made));
  forget.register(made, digest);
  return made;
}

/** The values and their lines, each text once, labelled with the number of the value. */
async function patternsOf(values: readonly string[]): Promise<Pattern[]> {
  const labels = new Map<string, number>();
  for (const [label, value] of values.entries()) {
    // A value may have thousands of lines.
    await nextTurn();
    const lines = value.split(/\r\n|\n|\r/);
    const isWhole = lines.length === 1 || Buffer.byteLength(value) <= MAX_WHOLE_BYTES;
    for (const part of isWhole ? [value, ...lines] : lines) {
      const text = part.trim().toWellFormed();
      // The second is how the text is looked for without its control characters.
      for (const form of CONTROL.test(text) ? [text, stripped(text)] : [text]) {
        if (form.length >= MIN_SECRET_CHARACTERS && !labels.has(form)) labels.set(form, label);
      }
    }
  }
  return [...labels].map(([text, label]) => ({ bytes: Buffer.from(text), label }));
}

/** A block of a value: what comes before it and after it, in bytes. */
interface Block {
  readonly bytes: Uint8Array;
  readonly label: number;
  readonly before: number;
  readonly after: number;
}

/** The values cut into blocks: wherever 31 bytes of a value are shown, a whole block is among them. */
async function blocksOf(values: readonly string[]): Promise<Block[]> {
  const blocks: Block[] = [];
  for (const [label, value] of values.entries()) {
    await nextTurn();
    const all = Buffer.from(value);
    for (let before = 0; before + BLOCK_BYTES <= all.length; before += BLOCK_BYTES) {
      const bytes = all.subarray(before, before + BLOCK_BYTES);
      if (new Set(bytes).size < MIN_DIFFERENT_BYTES) continue;
      blocks.push({ bytes, label, before, after: all.length - before - BLOCK_BYTES });
    }
  }
  return blocks;
}

/** A part of a line that shows secrets, in bytes. */
interface Covered {
  start: number;
  end: number;
  /** The length of the longest secret in it. */
  label: number;
  longest: number;
}

interface SecretsParts {
  readonly names: readonly string[];
  readonly search: ByteSearch;
  readonly blocks: readonly Block[];
  /** Labels are indexes of `blocks`. */
  readonly blockSearch: ByteSearch;
  /** The length of the shortest text that `search` finds. */
  readonly leastBytes: number;
}

class Secrets {
  readonly #parts: SecretsParts;

  constructor(parts: SecretsParts) {
    this.#parts = parts;
  }

  mask(text: string): string {
    const bytes = Buffer.from(text);
    const found = this.#find(bytes);
    if (found.length === 0) return text;
    let masked = '';
    let done = 0;
    for (const { start, end, label } of found) {
      masked += `${bytes.toString('utf8', done, start)}[config var ${this.#parts.names[label]}]`;
      done = end;
    }
    return masked + bytes.toString('utf8', done);
  }

  /** In order, and no two overlap. */
  #find(bytes: Uint8Array): Covered[] {
    const found: Covered[] = [];
    this.#parts.search.scan(bytes, bytes.length, (end, longest, label) =>
      add(found, { start: end - longest, end, label, longest }),
    );
    for (const one of escapesOf(bytes)) this.#findIn(one, found);
    for (const run of fromBase64(bytes, Math.min(this.#parts.leastBytes, BLOCK_BYTES))) {
      this.#findIn(run, found);
      if (run.length >= BLOCK_BYTES) this.#findBlocks(run, found);
    }
    const merged: Covered[] = [];
    for (const covered of found.sort((a, b) => a.start - b.start)) add(merged, covered);
    return merged;
  }

  #findIn({ bytes, length, starts, ends }: Decoded, found: Covered[]): void {
    this.#parts.search.scan(bytes, length, (after, longest, label) => {
      const [start, end] = [starts[after - longest] as number, ends[after - 1] as number];
      add(found, { start, end, label, longest });
    });
  }

  /** A line of base64 may show a part of a value only. What stands beside a block, up to the ends of the value, is it. */
  #findBlocks({ bytes, length, starts, ends }: Decoded, found: Covered[]): void {
    const { blocks, blockSearch } = this.#parts;
    blockSearch.scan(bytes, length, (after, size, index) => {
      const block = blocks[index] as Block;
      const from = Math.max(0, after - size - block.before);
      const to = Math.min(length, after + block.after);
      const [start, end] = [starts[from] as number, ends[to - 1] as number];
      add(found, { start, end, label: block.label, longest: to - from });
    });
  }
}

function escapesOf(bytes: Uint8Array): Decoded[] {
  const decoded = [withoutBackslashes(bytes), withoutPercents(bytes, false), withoutPercents(bytes, true)];
  return decoded.filter((one) => one !== null);
}

/** Adds a part, as one with the last part if the two overlap. */
function add(parts: Covered[], part: Covered): void {
  const last = parts.at(-1);
  if (last === undefined || part.start >= last.end || part.end <= last.start) {
    parts.push(part);
    return;
  }
  last.start = Math.min(last.start, part.start);
  last.end = Math.max(last.end, part.end);
  if (part.longest <= last.longest) return;
  last.label = part.label;
  last.longest = part.longest;
}
