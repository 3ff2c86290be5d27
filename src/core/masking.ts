import { stripVTControlCharacters } from 'node:util';
import { clean } from './progress.ts';

/** Characters that are compared for one line, and what looking at one secret counts for. */
const MOST_COMPARED = 4_000_000;
const LOOK = 20;
const HEAD = 64;
const LEFT_OUT = '[line left out: too much of it looks like config vars]';

/** Shorter values are words of everyday output. */
const minSecretLength = 6;

/**
 * A function that replaces the values of config vars by their names: the values themselves, each line of
 * those with several, and their forms in URLs, in JSON and in base64, those within longer base64 included. Colours
 * within a value do not hide it.
 */
export function masking(configVars: Readonly<Record<string, string>>): (text: string) => string {
  const secrets = new Secrets();
  for (const [name, value] of Object.entries(configVars)) {
    for (const form of formsOf(value)) secrets.add(form, `[config var ${name}]`);
  }
  if (secrets.isEmpty) return (text) => text;
  secrets.sort();
  return (text) => {
    const masked = secrets.mask(text);
    if (!CONTROL.test(masked)) return masked;
    const plain = stripVTControlCharacters(clean(masked));
    const again = secrets.mask(plain);
    return again === plain ? masked : again;
  };
}

const CONTROL = /(?![\t\n])\p{Cc}/u;

interface Secret {
  readonly form: string;
  readonly head: string;
  readonly label: string;
}

/**
 * Texts to find, by how they begin: a value of thousands of lines makes a regular expression that V8 refuses, and
 * most places of most lines begin none of them.
 */
class Secrets {
  readonly #byBeginning = new Map<string, Secret[]>();
  /** Whether any begins with two letters that share this number. */
  readonly #firstLetters = new Uint8Array(1 << 16);

  get isEmpty(): boolean {
    return this.#byBeginning.size === 0;
  }

  /** @param form - At least `minSecretLength` long. */
  add(form: string, label: string): void {
    const beginning = form.slice(0, minSecretLength);
    const alike = this.#byBeginning.get(beginning) ?? [];
    alike.push({ form, head: form.slice(0, HEAD), label });
    this.#byBeginning.set(beginning, alike);
    this.#firstLetters[lettersAt(form, 0)] = 1;
  }

  /** One secret may hold another: from now on the longest of those that begin alike is found first. */
  sort(): void {
    for (const alike of this.#byBeginning.values()) alike.sort((a, b) => b.form.length - a.form.length);
  }

  mask(text: string): string {
    let masked = '';
    let done = 0;
    let left = MOST_COMPARED;
    const isAt = ({ form, head }: Secret, at: number): boolean => {
      left -= LOOK;
      if (left < 0 || !text.startsWith(head, at)) return false;
      left -= form.length;
      return text.startsWith(form, at);
    };
    for (let at = 0; at + minSecretLength <= text.length; at++) {
      if (this.#firstLetters[lettersAt(text, at)] === 0) continue;
      const alike = this.#byBeginning.get(text.slice(at, at + minSecretLength));
      const found = alike?.find((secret) => isAt(secret, at));
      // A build that makes its own lines like its own config vars slows nobody else down.
      if (left < 0) return LEFT_OUT;
      if (found === undefined) continue;
      masked += text.slice(done, at) + found.label;
      done = at + found.form.length;
      at = done - 1;
    }
    return masked + text.slice(done);
  }
}

function lettersAt(text: string, at: number): number {
  return (text.charCodeAt(at) ^ (text.charCodeAt(at + 1) << 7)) & 0xffff;
}

function formsOf(value: string): string[] {
  const parts = [value, ...value.split(/\r\n|\n|\r/)].map((part) => part.trim().toWellFormed());
  const long = parts.filter((part) => part.length >= minSecretLength);
  const forms = long.flatMap((part) => [part, quoted(part), ...urlForms(part), ...base64Forms(part)]);
  return [...new Set(forms)];
}

/** As it stands in JSON, and in most languages' literals. */
function quoted(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** As JavaScript, RFC 3986, forms and a path write it, in large and small hexadecimal digits. */
function urlForms(text: string): string[] {
  const loose = encodeURIComponent(text);
  if (loose === text && !/[!'()*]/.test(text)) return [];
  const strict = loose.replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
  const forms = [loose, strict, strict.replaceAll('%20', '+'), strict.replaceAll('%2F', '/')];
  return [...forms, ...forms.map((form) => form.replace(/%../g, (code) => code.toLowerCase()))];
}

/**
 * What of the text's base64 is the same wherever it begins in three bytes (RFC 4648, 4 and 5): `user:secret` in a
 * header of HTTP holds the second or third of these.
 */
function base64Forms(text: string): string[] {
  const bytes = Buffer.from(text);
  return [0, 1, 2].flatMap((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]);
    // A digit is six bits: those that also hold bits of what is before or after it are left out.
    const [start, end] = [Math.ceil((before * 8) / 6), Math.floor((whole.length * 8) / 6)];
    const forms = [whole.toString('base64'), whole.toString('base64url')];
    return forms.map((form) => form.slice(start, end)).filter((form) => form.length >= minSecretLength);
  });
}
