import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { execa } from 'execa';

const path = resolve(import.meta.dirname, '../../../docs/operating.md');

type Block = { readonly kind: 'commands' | 'file' | 'choice'; readonly name: string; readonly text: string };

/** Follows docs/operating.md like an operator who only replaces values on the page by their own. */
export class OperatingPage {
  readonly #sections: ReadonlyMap<string, readonly Block[]>;
  readonly #folder: string;
  readonly #environment: Readonly<Record<string, string>>;

  private constructor(
    sections: ReadonlyMap<string, readonly Block[]>,
    folder: string,
    environment: Readonly<Record<string, string>>,
  ) {
    this.#sections = sections;
    this.#folder = folder;
    this.#environment = environment;
  }

  /**
   * @param options - `yours`: values on the page and their replacements; each must be on the page. `folder`: the working
   * folder. `environment`: additional variables.
   */
  static async read(options: {
    readonly yours: Readonly<Record<string, string>>;
    readonly folder: string;
    readonly environment?: Readonly<Record<string, string>>;
  }): Promise<OperatingPage> {
    const page = await readFile(path, 'utf8');
    const missing = Object.keys(options.yours).filter((value) => !page.includes(value));
    if (missing.length > 0) throw new Error(`not on the page: ${missing.join(', ')}`);
    // The longest first, because a value may be a part of another.
    const values = Object.keys(options.yours).toSorted((one, other) => other.length - one.length);
    const anyValue = new RegExp(values.map((value) => RegExp.escape(value)).join('|'), 'g');
    const mine = (text: string) => text.replace(anyValue, (value) => options.yours[value] ?? value);
    const sections = new Map<string, Block[]>();
    let title = '';
    for (const [whole, heading, language, text] of page.matchAll(/^#+ (.+)$|^```(\w+)\n([\s\S]*?)^```$/gm)) {
      if (heading !== undefined) title = heading;
      if (text === undefined) continue;
      const name = /^# ([-a-z]+\.yaml)\n/.exec(text)?.[1] ?? '';
      const kind = language === 'sh' ? 'commands' : name === '' ? 'choice' : 'file';
      if (language !== 'sh' && language !== 'yaml') throw new Error(`a block of what? ${whole}`);
      sections.set(title, [...(sections.get(title) ?? []), { kind, name, text: mine(text) }]);
    }
    return new OperatingPage(sections, options.folder, options.environment ?? {});
  }

  /** Follows a section, or its blocks that contain a text. @returns the output of its commands. */
  async walk(title: string, holding = ''): Promise<string> {
    const blocks = (this.#sections.get(title) ?? []).filter(
      ({ kind, text }) => kind !== 'choice' && text.includes(holding),
    );
    if (blocks.length === 0) throw new Error(`the page has nothing to do in ${title} ${holding}`);
    const printed: string[] = [];
    for (const { kind, name, text } of blocks) {
      if (kind === 'file') await writeFile(join(this.#folder, name), text);
      else printed.push(await this.#type(text));
    }
    return printed.join('\n');
  }

  /** A section's YAML that is not a whole file, but an addition to one. */
  choices(title: string): string[] {
    return (this.#sections.get(title) ?? []).filter(({ kind }) => kind === 'choice').map(({ text }) => text);
  }

  async #type(commands: string): Promise<string> {
    const words = ['-eu', '-o', 'pipefail', '-c', commands];
    const typed = await execa('bash', words, {
      cwd: this.#folder,
      env: { ...this.#environment },
      stdin: 'ignore',
      all: true,
      reject: false,
      timeout: 900_000,
    });
    if (typed.exitCode !== 0) throw new Error(`${commands}\n${typed.all?.slice(-4000)}`);
    return typed.all ?? '';
  }
}
