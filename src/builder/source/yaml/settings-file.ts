import { Worker } from 'node:worker_threads';
import { DeployError } from '../../../core/errors.ts';
import { readPlainFile } from '../safe-files.ts';
import { type ParsedYaml, parseYaml } from './parse-yaml.ts';

/** A larger file is refused. A hostile YAML file of 64 kB would keep the parser busy for a second. */
const MAX_BYTES = 16 * 1024;
/**
 * The longest text that is parsed without a thread. Even if the text is hostile, to parse it takes less time than to
 * start a thread.
 */
const MAX_CHARACTERS_HERE = 1024;
/** The server ends a thread that parses a file for longer than this. Even a hostile file takes far less time. */
const LONGEST_MS = 30_000;

export interface SettingsFileOptions {
  /** The code of the error if the file cannot be used. */
  readonly code: string;
  /** A sentence that says what to write instead. */
  readonly hint: string;
}

/** A YAML file of a tool. Collects sentences about the parts that are not used, or not as they are written. */
export class SettingsFile {
  /** The path of the file in the repository. */
  readonly path: string;
  readonly content: unknown;
  readonly #lines: ReadonlyMap<string, number>;
  readonly #options: SettingsFileOptions;
  readonly #warnings: string[] = [];
  /** The keys of the file that have no effect. Each is mapped to the names of the components that have the key. */
  readonly #unused = new Map<string, string[]>();

  private constructor(
    path: string,
    parsed: Exclude<ParsedYaml, { why: string }>,
    options: SettingsFileOptions,
  ) {
    this.path = path;
    this.content = parsed.value;
    this.#lines = parsed.lines;
    this.#options = options;
  }

  /**
   * Reads a file that an untrusted person wrote. A text of more than 1,024 characters is parsed in a thread of its own.
   * Without the thread, 16 kB of hostile YAML would block the server for 150 ms.
   *
   * @returns null if the file does not exist or is no plain file.
   * @throws DeployError if the file has more than `MAX_BYTES` or is not valid YAML.
   */
  static async read(
    source: string,
    parts: readonly string[],
    options: SettingsFileOptions,
  ): Promise<SettingsFile | null> {
    const path = parts.join('/');
    const text = await readPlainFile(source, parts, MAX_BYTES).catch((error: unknown) => {
      if (!(error instanceof RangeError)) throw error;
      throw new DeployError(
        options.code,
        `the file ${path} is larger than ${MAX_BYTES / 1024} kB`,
        'Make the file smaller, and push again.',
      );
    });
    if (text === null) return null;
    const parsed = text.length <= MAX_CHARACTERS_HERE ? parseYaml(text) : await parseInThread(text);
    if ('why' in parsed) throw new DeployError(options.code, `${path} ${parsed.why}`, options.hint);
    return new SettingsFile(path, parsed, options);
  }

  /** The keys and values of the file. @throws DeployError if the file has other content. */
  get mapping(): Readonly<Record<string, unknown>> {
    if (isMapping(this.content)) return this.content;
    throw this.refusal(
      [],
      `${this.path} must have lines of the form \`key: value\`, but has other text`,
      this.#options.hint,
    );
  }

  get warnings(): string[] {
    const unused = [...this.#unused].map(([key, names]) =>
      names.length === 0 ? key : `${key} (${names.slice(0, 10).join(', ')}${names.length > 10 ? ', …' : ''})`,
    );
    const verb = unused.length === 1 ? 'has' : 'have';
    const sentence = `${this.path}: ${unused.slice(0, 10).join(', ')} ${verb} no effect here.`;
    return [...this.#warnings, ...(unused.length === 0 ? [] : [sentence])];
  }

  warn(path: readonly (string | number)[], sentence: string): void {
    this.#warnings.push(`${sentence}${this.#where(path)}.`);
  }

  /** Remembers a key of the file that has no effect. One warning names all these keys. */
  hasNoEffect(key: string, component: string | null = null): void {
    const names = this.#unused.get(key) ?? [];
    this.#unused.set(key, component === null ? names : [...names, component]);
  }

  /** Warns about the keys that are not known. @param place - Says where the keys stand. */
  warnOfUnknown(
    path: readonly string[],
    place: string,
    keys: readonly string[],
    known: readonly string[],
  ): void {
    const unknown = keys.filter((key) => !known.includes(key));
    if (unknown.length === 0) return;
    const names = unknown.slice(0, 10).map(shown).join(', ');
    const at = [...path, unknown[0] ?? ''];
    this.#warnings.push(
      `${place} contains unknown keys: ${names}${this.#where(at)}. They are not used. The known keys are: ${known.join(', ')}.`,
    );
  }

  /**
   * Returns the error for a key or list item that cannot be used. The message names the line. @param path - The path of
   * the key or list item in the file.
   */
  refusal(path: readonly (string | number)[], message: string, hint: string): DeployError {
    return new DeployError(this.#options.code, `${message}${this.#where(path)}`, hint);
  }

  #where(path: readonly (string | number)[]): string {
    const line = this.#lines.get(path.join('.'));
    return line === undefined ? '' : ` (line ${line})`;
  }
}

/** Parses YAML in a thread. If this takes longer than `LONGEST_MS`, ends the thread and returns that as the reason. */
async function parseInThread(text: string): Promise<ParsedYaml> {
  const worker = new Worker(new URL('./yaml-thread.ts', import.meta.url), { workerData: text });
  const { promise, resolve, reject } = Promise.withResolvers<ParsedYaml>();
  worker.once('message', resolve);
  worker.once('error', reject);
  const isTooLate = setTimeout(() => void worker.terminate(), LONGEST_MS);
  worker.once('exit', () => resolve({ why: 'cannot be read, because it takes too long' }));
  return await promise.finally(() => clearTimeout(isTooLate));
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Returns an untrusted value as a text for a message: at most 40 characters of printable ASCII, and `…` if the text was
 * longer. Other characters become `?`.
 */
export function shown(value: unknown): string {
  const text = (typeof value === 'string' ? value : JSON.stringify(value)).replace(/[^\x20-\x7e]/g, '?');
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
