import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import type { TestServer } from '../../support/server.ts';

const docs = resolve(import.meta.dirname, '../../../docs');

interface Block {
  readonly language: string;
  /** The path that the text before the block names, as in: Write this into `app.py`: */
  readonly path: string | null;
  readonly text: string;
}

interface Typed {
  readonly command: string;
  readonly shown: readonly string[];
}

/** Commands that only look at something that changes by itself. A reader would type them again after a moment. */
const LOOKS = /^(?:ssh toolforge (?:ps|logs|releases|schedule (?:list|history|output)) |curl )/;
const LOOK_MS = 30_000;

/**
 * Follows a page of docs as a person at a terminal does, in order. In a block `console`, a line that begins with `$ `
 * is typed, and the lines below are what it prints. There `…` stands for any text, and a line `…` for any lines. A
 * command must fail if a shown line begins with `error: `, and succeed otherwise. If the text before another block ends
 * with the name of a file in backquotes and a colon, the block is that file.
 */
export class WalkedPage {
  readonly #blocks: readonly Block[];
  readonly #environment: Readonly<Record<string, string>>;
  #folder: string;

  private constructor(
    blocks: readonly Block[],
    environment: Readonly<Record<string, string>>,
    folder: string,
  ) {
    this.#blocks = blocks;
    this.#environment = environment;
    this.#folder = folder;
  }

  /**
   * @param yours - Additional values on the page, and their replacements. Each must be on the page. Names and addresses
   * of the server are replaced anyway.
   */
  static async open(
    server: TestServer,
    name: string,
    yours: Readonly<Record<string, string>> = {},
  ): Promise<WalkedPage> {
    const page = await readFile(join(docs, name), 'utf8');
    for (const value of Object.keys(yours)) assert.ok(page.includes(value), `${value} is in docs/${name}`);
    const mine = replacing(server, yours);
    const home = await mkdtemp(join(server.folder, 'reader-'));
    const walked = new WalkedPage(blocksOf(page, mine), await environmentOf(server, home), home);
    // All pages use the name `toolforge` that the tutorial gives the server.
    const tutorial = blocksOf(await readFile(join(docs, 'tutorial.md'), 'utf8'), mine);
    for (const block of tutorial) if (block.path === '~/.ssh/config') await walked.#write(block);
    return walked;
  }

  /**
   * Writes all files and types all commands of the page.
   *
   * @param others - What to do with blocks in these languages, which are neither files nor commands.
   */
  async walk(others: Readonly<Record<string, (text: string) => Promise<void>>> = {}): Promise<void> {
    for (const block of this.#blocks) {
      const follow = others[block.language];
      if (block.language === 'console') for (const typed of typedIn(block.text)) await this.#type(typed);
      else if (follow !== undefined) await follow(block.text);
      else if (block.path !== null) await this.#write(block);
      else assert.fail(`a block without the name of a file:\n${block.text}`);
    }
  }

  /** Gives the reader a program that the page uses and that belongs to another platform. */
  async provide(name: string, script: string): Promise<void> {
    await writeFile(join(this.#environment['HOME'] ?? '', '.bin', name), script, { mode: 0o755 });
  }

  async #write({ path, text }: Block): Promise<void> {
    const file = resolve(this.#folder, (path ?? '').replace(/^~/, this.#environment['HOME'] ?? ''));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }

  async #type({ command, shown }: Typed): Promise<void> {
    const end = performance.now() + (LOOKS.test(command) ? LOOK_MS : 0);
    for (;;) {
      const { exitCode, output } = await this.#run(command);
      const mustFail = shown.some((line) => line.startsWith('error: '));
      if (patternOf(shown).test(output) && (exitCode !== 0) === mustFail) return;
      if (performance.now() > end) {
        const [, tool] = /^curl http:\/\/([a-z]+)\./.exec(command) ?? [];
        const logs = tool === undefined ? '' : (await this.#run(`ssh toolforge logs ${tool}`)).output;
        assert.fail(
          `$ ${command}\nexited with ${exitCode} and printed:\n${output}\nThe page shows:\n${shown.join('\n')}\n${logs}`,
        );
      }
      await wait(200);
    }
  }

  async #run(command: string): Promise<{ exitCode: number; output: string }> {
    // The shell reports its folder, so that a `cd` lasts.
    const place = join(this.#environment['HOME'] ?? '', '.place');
    const { exitCode, all } = await execa('bash', ['-c', `trap 'pwd >"${place}"' EXIT\n${command}`], {
      cwd: this.#folder,
      env: this.#environment,
      extendEnv: false,
      stdin: 'ignore',
      all: true,
      reject: false,
      timeout: 120_000,
    });
    this.#folder = (await readFile(place, 'utf8')).trimEnd();
    return { exitCode: exitCode ?? 255, output: plain(all) };
  }
}

function blocksOf(page: string, mine: (text: string) => string): Block[] {
  return [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(
    ({ index, 1: language = '', 2: text = '' }) => {
      const [, path] = /`([^`\s]+)`:$/.exec(page.slice(0, index).trimEnd()) ?? [];
      const isFile = language !== 'console' && path !== undefined;
      return { language, path: isFile ? mine(path) : null, text: mine(text) };
    },
  );
}

function typedIn(text: string): Typed[] {
  const typed: { command: string; shown: string[] }[] = [];
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith('$ ')) typed.push({ command: line.slice(2), shown: [] });
    else typed.at(-1)?.shown.push(line.trimEnd());
  }
  assert.ok(typed.length > 0, `a block of console without a command:\n${text}`);
  return typed;
}

function patternOf(shown: readonly string[]): RegExp {
  const lines = shown.map((line) =>
    line === '…' ? '(?:.*\\n)*?' : `${line.split('…').map(RegExp.escape).join('.*')}\\n`,
  );
  return new RegExp(`^${lines.join('')}$`);
}

/** Removes colours and the spaces at the ends of lines. Text that git would overwrite on a terminal is left out. */
function plain(output: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of the push output
  const text = output.replace(/\u001b\[[0-9;]*[mK]/g, '').replace(/^.*\r(?!\n)/gm, '');
  const lines = text.split('\n').map((line) => line.trimEnd());
  return lines.length === 1 && lines[0] === '' ? '' : `${lines.join('\n').trimEnd()}\n`;
}

/** Returns a function that replaces the names and addresses of the page by those of a test. */
function replacing(server: TestServer, yours: Readonly<Record<string, string>>): (text: string) => string {
  const [host = '', port = ''] = server.ssh.split(':');
  const web = server.http.split(':')[1] ?? '';
  const values: Record<string, string> = {
    ...yours,
    alice: server.user,
    'push.example.org': host,
    '2222': port,
  };
  const pattern = new RegExp(
    Object.keys(values)
      .toSorted((one, other) => other.length - one.length)
      .map((value) => RegExp.escape(value))
      .join('|'),
    'g',
  );
  return (text) =>
    text
      .replace(/https:\/\/([\w-]+)\.tools\.example\.org/g, `http://$1.localhost:${web}`)
      .replace(pattern, (value) => values[value] ?? value);
}

/** The environment of a reader whose ssh has the key of the server's user. */
async function environmentOf(server: TestServer, home: string): Promise<Record<string, string>> {
  const { GIT_SSH_COMMAND = '', PATH = '', ...environment } = server.clientEnvironment;
  const bin = join(home, '.bin');
  await mkdir(bin);
  // curl shows its progress unless it writes to a terminal.
  await writeFile(join(home, '.curlrc'), 'silent\nshow-error\n');
  const ssh = GIT_SSH_COMMAND.replace(/^ssh -F none/, `/usr/bin/ssh -F ${join(home, '.ssh/config')}`);
  await writeFile(join(bin, 'ssh'), `#!/bin/sh\nexec ${ssh} "$@"\n`);
  await chmod(join(bin, 'ssh'), 0o755);
  return { ...environment, PATH: `${bin}:${PATH}`, HOME: home };
}
