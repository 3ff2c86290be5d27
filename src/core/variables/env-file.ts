import { DeployError } from '../errors.ts';
import { MAX_CONFIG_VARS } from '../names.ts';
import { MAX_CONFIG_VAR_BYTES } from './config-changes.ts';

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const SPACE = /[ \t]*/y;
const BLANK = /[ \t\n]*/y;
/** A .env file with more comments is refused, because to read them would take too long. */
const MAX_COMMENTS = 10_000;
/**
 * The most characters between the two quotes of a value in a .env file. Twice the limit of a value, because each byte
 * of the value may be written as an escape of two characters.
 */
const MAX_RAW = 2 * MAX_CONFIG_VAR_BYTES;
const EXPORT = /export[ \t]+/y;
/** What may follow a closing quote on its line. */
const REST = /[ \t]*(?:#[^\n]*)?(?=\n|$)/y;
/**
 * What a backslash and the character after it stand for between double quotes in a .env file. The key is this
 * character. If a character is not listed, the backslash is kept.
 */
const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  '"': '"',
  '\\': '\\',
  $: '$',
  '`': '`',
};

/**
 * Reads a .env file: lines `NAME=value`, comments, empty lines, and `export` before a name. A value between quotes may
 * have several lines. Between double quotes, `\n`, `\r`, `\"`, `\\`, `\$` and a backslash before a backtick are
 * replaced. Nothing is replaced between single quotes or backticks, and `$NAME` is never replaced.
 *
 * Node's `util.parseEnv` has no escape for a quote, drops carriage returns, and skips lines that it cannot read. So it
 * cannot read back every value.
 *
 * @throws DeployError `BAD_ENV_FILE` if a line is wrong, with the number of the line, or if the file has too many
 * comments or variables. The error never contains text of the file except names.
 */
export function parseEnvFile(text: string): Record<string, string> {
  return new EnvFile(text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n')).read();
}

class EnvFile {
  readonly #text: string;
  readonly #lines = new Map<string, number>();
  /** The index up to which the lines have been counted, so that the lines of a long file are counted only once. */
  readonly #counted = { at: 0, line: 1 };
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): Record<string, string> {
    const vars: [string, string][] = [];
    let comments = 0;
    for (this.#take(BLANK); this.#at < this.#text.length; this.#take(BLANK)) {
      if (this.#text[this.#at] === '#') {
        this.#at = this.#endOfLine();
        comments += 1;
      } else vars.push(this.#variable());
      if (comments > MAX_COMMENTS)
        throw bad(`it has more than ${MAX_COMMENTS} comments`, 'Leave out comments.');
      if (vars.length > MAX_CONFIG_VARS)
        throw bad(
          `it has more than ${MAX_CONFIG_VARS} variables`,
          'Leave out variables that the tool does not use.',
        );
    }
    return Object.fromEntries(vars);
  }

  #variable(): [string, string] {
    const line = this.#line();
    this.#take(EXPORT);
    const name = this.#take(NAME);
    this.#take(SPACE);
    if (name === '' || this.#text[this.#at] !== '=') {
      throw bad(
        `line ${line} is not NAME=value`,
        'A comment begins with #. A value of several lines needs quotes.',
      );
    }
    this.#at += 1;
    this.#take(SPACE);
    const earlier = this.#lines.get(name);
    if (earlier !== undefined) {
      throw bad(
        `${name.slice(0, 100)} is in line ${earlier} and in line ${line}`,
        'Remove one of the two lines.',
      );
    }
    this.#lines.set(name, line);
    const quote = this.#text[this.#at] ?? '';
    if (!['"', "'", '`'].includes(quote)) return [name, this.#plain()];
    return [name, this.#quoted(quote, line)];
  }

  /** A value without quotes ends at the end of its line, or before a `#` that follows a space or begins the value. */
  #plain(): string {
    const end = this.#endOfLine();
    const line = this.#text.slice(this.#at, end);
    const comment = /(?:^|[ \t])#/.exec(line);
    this.#at = end;
    return (comment === null ? line : line.slice(0, comment.index)).trimEnd();
  }

  #quoted(quote: string, line: number): string {
    const begin = this.#at + 1;
    const end = this.#closing(quote, begin);
    if (end < 0)
      throw bad(
        `the value that begins in line ${line} has no closing ${quote}`,
        `Close the value with ${quote}.`,
      );
    const raw = this.#text.slice(begin, end);
    if (raw.length > MAX_RAW)
      throw bad(
        `the value that begins in line ${line} is longer than ${MAX_CONFIG_VAR_BYTES} bytes`,
        'Put large data into a file of the repository.',
      );
    const value =
      quote === '"' ? raw.replace(/\\([\s\S])/g, (both, letter: string) => ESCAPES[letter] ?? both) : raw;
    this.#at = end + 1;
    REST.lastIndex = this.#at;
    if (!REST.test(this.#text)) {
      throw bad(
        `line ${this.#line()} has text after the closing ${quote}`,
        `If the value contains ${quote}: put the value between double quotes, and write ${quote === '"' ? '\\"' : quote}.`,
      );
    }
    this.#at = this.#endOfLine();
    return value;
  }

  /**
   * Returns the index of the closing quote, or -1 if there is none. A double quote after an odd number of backslashes
   * does not close the value.
   */
  #closing(quote: string, begin: number): number {
    for (let at = this.#text.indexOf(quote, begin); at >= 0; at = this.#text.indexOf(quote, at + 1)) {
      let backslashes = 0;
      if (quote === '"')
        while (at - backslashes > begin && this.#text[at - backslashes - 1] === '\\') backslashes += 1;
      if (backslashes % 2 === 0) return at;
    }
    return -1;
  }

  /**
   * Returns the text that `pattern` matches at the index `#at`, and moves `#at` behind this text. Returns an empty text
   * if `pattern` does not match there.
   */
  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found = ''] = pattern.exec(this.#text) ?? [];
    this.#at += found.length;
    return found;
  }

  #line(): number {
    this.#counted.line += this.#text.slice(this.#counted.at, this.#at).split('\n').length - 1;
    this.#counted.at = this.#at;
    return this.#counted.line;
  }

  #endOfLine(): number {
    const end = this.#text.indexOf('\n', this.#at);
    return end < 0 ? this.#text.length : end;
  }
}

/**
 * Writes config vars as a .env file, which `parseEnvFile` reads back exactly. A POSIX shell reads the same values,
 * unless a value has a carriage return.
 */
export function formatEnvFile(vars: Readonly<Record<string, string>>): string {
  return Object.entries(vars)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => `${name}=${formatValue(value)}\n`)
    .join('');
}

function formatValue(value: string): string {
  if (/^[\w./:@%+,-]*$/.test(value)) return value;
  if (!/['\r]/.test(value)) return `'${value}'`;
  return `"${value.replace(/["\\$`]/g, '\\$&').replaceAll('\r', '\\r')}"`;
}

function bad(message: string, hint: string): DeployError {
  return new DeployError('BAD_ENV_FILE', message, hint);
}
