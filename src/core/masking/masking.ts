import { createHash } from 'node:crypto';
import { stripVTControlCharacters } from 'node:util';
import { allSteps, outputTime } from '../fair-share/time-shares.ts';
import { clean } from '../progress.ts';
import { ByteSearch, type Pattern } from './byte-search.ts';
import { type Decoded, fromBase64, withoutBackslashes, withoutPercents } from './decoded-text.ts';

/** Replaces the secrets in one line of text by the names of their config vars. */
export interface Mask {
  (text: string): string;
  /**
   * Does the same, and yields about once a millisecond, so that other work can run meanwhile (`TimeShares.runSteps`).
   * Use this for lines that may be long.
   */
  steps(text: string): Generator<void, string>;
}

/** Shorter values of config vars are not masked in output, because everyday output contains such short words. */
const MIN_SECRET_CHARACTERS = 6;
/**
 * In output, the value of a config var that is longer than this and has several lines is masked only line by line. The
 * server does not look for such a value as a whole.
 */
const MAX_WHOLE_BYTES = 4096;
/**
 * The values of config vars are cut into blocks of this size. If a part of a value is printed in base64, its blocks are
 * found. A line of 76 base64 digits encodes 57 bytes, which contain at least two whole blocks, wherever the line
 * begins.
 */
const BLOCK_BYTES = 16;
/**
 * The server does not search base64 for a block with fewer different bytes than this. The block may be ordinary text,
 * such as the line of dashes under a title.
 */
const MIN_DIFFERENT_BYTES = 6;

/**
 * Returns a function that replaces the values of config vars, and the single lines of these values, by the names of the
 * vars. The function also finds values that are encoded as in URLs, JSON or base64, or that have colours in them. A
 * value is also found if it was encoded in base64 together with other text, and if the base64 text has several lines.
 * If secrets overlap, all their text is replaced. Values and lines of less than six characters are not masked, because
 * everyday output contains them too.
 *
 * The time to mask a text grows with the length of the text alone. Callers with the same config vars share one search
 * structure.
 *
 * @param share - The tool or build in whose time for output the search structure is made (`outputTime`).
 */
export async function masking(configVars: Readonly<Record<string, string>>, share: string): Promise<Mask> {
  const secrets = await secretsOf(configVars, share);
  const steps = function* (text: string): Generator<void, string> {
    if (secrets === null) return text;
    if (!CONTROL.test(text)) return yield* secrets.mask(text);
    const plain = stripped(text);
    const masked = yield* secrets.mask(plain);
    const coloured = yield* secrets.mask(text);
    return masked === plain || stripped(coloured) === masked ? coloured : masked;
  };
  return Object.assign((text: string) => allSteps(steps(text)), { steps });
}

/**
 * Masks the secrets in lines. A line may be long, so `outputTime` does the work in steps, and counts its time for the
 * tool or build `share`.
 */
export async function maskedLines(
  lines: readonly string[],
  steps: Mask['steps'],
  share: string,
): Promise<string[]> {
  const masked: string[] = [];
  for (const line of lines) masked.push(await outputTime.runSteps(share, steps(line)));
  return masked;
}

const CONTROL = /(?![\t\n])\p{Cc}/u;

function stripped(text: string): string {
  return stripVTControlCharacters(clean(text));
}

const making = new Map<string, Promise<Secrets | null>>();
const shared = new Map<string, WeakRef<Secrets>>();
const forget = new FinalizationRegistry<string>((digest) => {
  if (shared.get(digest)?.deref() === undefined) shared.delete(digest);
});

async function secretsOf(
  configVars: Readonly<Record<string, string>>,
  share: string,
): Promise<Secrets | null> {
  const digest = createHash('sha256').update(JSON.stringify(configVars)).digest('base64');
  const known = shared.get(digest)?.deref();
  if (known !== undefined) return known;
  let made = making.get(digest);
  if (made === undefined) {
    made = outputTime.runSteps(share, makeSecrets(configVars)).finally(() => making.delete(digest));
    making.set(digest, made);
  }
  const secrets = await made;
  if (secrets !== null && shared.get(digest)?.deref() !== secrets) {
    shared.set(digest, new WeakRef(secrets));
    forget.register(secrets, digest);
  }
  return secrets;
}

/** Yields about once a millisecond. The result is null if no value is long enough to be masked. */
function* makeSecrets(configVars: Readonly<Record<string, string>>): Generator<void, Secrets | null> {
  const values = Object.values(configVars);
  const patterns = yield* patternsOf(values);
  if (patterns.length === 0) return null;
  const blocks = yield* blocksOf(values);
  return new Secrets({
    names: Object.keys(configVars),
    search: yield* ByteSearch.of(patterns),
    blocks,
    blockSearch: yield* ByteSearch.of(blocks.map(({ bytes }, label) => ({ bytes, label }))),
    leastBytes: patterns.reduce((least, { bytes }) => Math.min(least, bytes.length), Number.MAX_SAFE_INTEGER),
  });
}

/**
 * Returns the values of config vars and the lines of these values as patterns to search for, each text once. The label
 * of a pattern is the index of its value.
 */
function* patternsOf(values: readonly string[]): Generator<void, Pattern[]> {
  const labels = new Map<string, number>();
  for (const [label, value] of values.entries()) {
    // A value may have thousands of lines, so other work can run before each value.
    yield;
    const lines = value.split(/\r\n|\n|\r/);
    const isWhole = lines.length === 1 || Buffer.byteLength(value) <= MAX_WHOLE_BYTES;
    for (const part of isWhole ? [value, ...lines] : lines) {
      const text = part.trim().toWellFormed();
      // If a secret has control characters, also search for the secret without them, because output is masked a second
      // time after its control characters were removed.
      for (const form of CONTROL.test(text) ? [text, stripped(text)] : [text]) {
        if (form.length >= MIN_SECRET_CHARACTERS && !labels.has(form)) labels.set(form, label);
      }
    }
  }
  return [...labels].map(([text, label]) => ({ bytes: Buffer.from(text), label }));
}

/** Sixteen bytes of the value of a config var, and how many bytes of the value come before and after them. */
interface Block {
  readonly bytes: Uint8Array;
  readonly label: number;
  readonly before: number;
  readonly after: number;
}

/** Cuts the values of config vars into blocks of 16 bytes. So any 31 bytes in a row contain a whole block. */
function* blocksOf(values: readonly string[]): Generator<void, Block[]> {
  const blocks: Block[] = [];
  for (const [label, value] of values.entries()) {
    yield;
    const all = Buffer.from(value);
    for (let before = 0; before + BLOCK_BYTES <= all.length; before += BLOCK_BYTES) {
      const bytes = all.subarray(before, before + BLOCK_BYTES);
      if (new Set(bytes).size < MIN_DIFFERENT_BYTES) continue;
      blocks.push({ bytes, label, before, after: all.length - before - BLOCK_BYTES });
    }
  }
  return blocks;
}

/** A part of a line that shows secrets. `start` and `end` count bytes of the line. */
interface Covered {
  start: number;
  end: number;
  /** The index of the config var that has the longest secret in this part of the line. */
  label: number;
  /** The length in bytes of the longest secret in this part of the line. */
  longest: number;
}

interface SecretsParts {
  readonly names: readonly string[];
  readonly search: ByteSearch;
  readonly blocks: readonly Block[];
  /** Finds blocks of values in a text. The label of a match is an index of `blocks`. */
  readonly blockSearch: ByteSearch;
  /** The length in bytes of the shortest pattern of `search`. */
  readonly leastBytes: number;
}

class Secrets {
  readonly #parts: SecretsParts;

  constructor(parts: SecretsParts) {
    this.#parts = parts;
  }

  *mask(text: string): Generator<void, string> {
    const bytes = Buffer.from(text);
    const found = yield* this.#find(bytes);
    if (found.length === 0) return text;
    let masked = '';
    let done = 0;
    for (const { start, end, label } of found) {
      masked += `${bytes.toString('utf8', done, start)}[config var ${this.#parts.names[label]}]`;
      done = end;
    }
    return masked + bytes.toString('utf8', done);
  }

  /** The parts of the line that show secrets, in order. No two parts overlap. */
  *#find(bytes: Uint8Array): Generator<void, Covered[]> {
    const found: Covered[] = [];
    yield* this.#parts.search.scan(bytes, bytes.length, (end, longest, label) =>
      add(found, { start: end - longest, end, label, longest }),
    );
    for (const one of escapesOf(bytes)) yield* this.#findIn(one, found);
    for (const run of fromBase64(bytes, Math.min(this.#parts.leastBytes, BLOCK_BYTES))) {
      yield* this.#findIn(run, found);
      if (run.length >= BLOCK_BYTES) yield* this.#findBlocks(run, found);
    }
    const merged: Covered[] = [];
    for (const covered of found.sort((a, b) => a.start - b.start)) add(merged, covered);
    return merged;
  }

  *#findIn({ bytes, length, starts, ends }: Decoded, found: Covered[]): Generator<void, void> {
    yield* this.#parts.search.scan(bytes, length, (after, longest, label) => {
      const [start, end] = [starts[after - longest] as number, ends[after - 1] as number];
      add(found, { start, end, label, longest });
    });
  }

  /**
   * Finds blocks of the values of config vars in decoded text. Adds to `found` each block and the text around it in
   * which the rest of the value would stand.
   */
  *#findBlocks({ bytes, length, starts, ends }: Decoded, found: Covered[]): Generator<void, void> {
    const { blocks, blockSearch } = this.#parts;
    yield* blockSearch.scan(bytes, length, (after, size, index) => {
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

/** Adds a part of a line to a list of such parts. If it overlaps the last part of the list, merges the two. */
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
