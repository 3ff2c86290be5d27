import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ReadStream, WriteStream } from 'node:tty';
import type { Config } from '../../config.ts';
import { syncFolder } from '../../core/disk/sync-folder.ts';
import { DeployError, systemCode } from '../../core/errors.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import { write } from '../client/program.ts';
import type { CommandShape, FlagValue } from '../command.ts';
import { readText } from '../command-line/read-text.ts';
import type { ControlCall } from '../control/control-client.ts';
import { hiddenLine } from './hidden-line.ts';
import { type OperatorLine, runOperatorCommand } from './operator-command.ts';

export interface TransferContext extends OperatorLine {
  readonly config: Config;
  readonly input: AsyncIterable<Uint8Array>;
  readonly stdout: Writable;
  /** Runs a command in the server of the data folder. */
  readonly call: (line: Omit<ControlCall, 'socketPath'>) => Promise<number>;
  /** Returns a signal that the first Ctrl-C fires. From this call on, only the second Ctrl-C ends the process. */
  readonly interruption: () => AbortSignal;
}

interface TransferCommand extends CommandShape {
  run(context: TransferContext, words: readonly string[], flags: Flags): Promise<number>;
}

type Flags = Readonly<Record<string, FlagValue>>;

const MAX_PASSPHRASE_BYTES = 1024;
const PASSPHRASE =
  'Without --passphrase-file, the passphrase is the first line of standard input; at a terminal, the command asks for it. It has at least 12 characters.';

const exportTool: TransferCommand = {
  name: 'tool export',
  usage: 'TOOL FILE|FOLDER|- [--passphrase-file FILE]',
  summary: 'write everything about one tool into a file, for another server',
  examples: [
    'tool export wikibot /srv/exports/',
    'tool export wikibot wikibot.tar --passphrase-file passphrase',
  ],
  details: [
    'The file has the commits and tags, the history of releases, the config vars, and what the commands `scale`, `schedule pause`, `config share`, `limit` and `maintenance` have set. It has no deploy tokens, builds, logs, previews, freezes, config vars from outside or replica.my.cnf.',
    'The passphrase encrypts the config vars, and the import with it finds out whether somebody has changed the file. The commits are not encrypted.',
    'People may push during the export. The file has what was live when the export began.',
    PASSPHRASE,
  ],
  options: { 'passphrase-file': { type: 'string' } },
  words: { min: 2, max: 2 },
  async run(context, [tool = '', target = ''], flags) {
    const { config, stdout } = context;
    const { assertOwnFolder, fileFor } = await import('../../recovery/archive/back-up.ts');
    await assertOwnFolder(config.data);
    const file = target === '-' ? null : await fileFor(target, config.data, tool.replace(/[^-_a-z0-9]/g, ''));
    if (file === null && stdout instanceof WriteStream)
      throw new DeployError(
        'OUTPUT_TO_TERMINAL',
        'a tar is not shown on a terminal',
        'Name a file instead of -.',
      );
    const passphrase = await readPassphrase(context, flags, true);
    const draft = file === null ? null : `${file}.new`;
    try {
      const to =
        draft === null
          ? stdout
          : // `open` fails at once if the file cannot be made. A path given to `createWriteStream` fails later.
            (await open(draft, 'wx', 0o600)).createWriteStream({ flush: true });
      // Ignore an error that happens between two writes, because without a listener it would end this process. The next
      // write throws the error.
      to.on('error', () => undefined);
      let bytes = 0;
      const status = await context.call({
        ...{ argv: ['export-tool', tool], input: lineOf(passphrase), signal: context.interruption() },
        out: async (chunk) => {
          bytes += chunk.length;
          await write(to, chunk);
        },
        err: (chunk) => context.err(Buffer.from(chunk).toString()),
      });
      if (draft === null || file === null) return status;
      to.end();
      await finished(to);
      if (status !== 0) return status;
      await rename(draft, file);
      await syncFolder(dirname(file));
      await context.out(
        `Exported ${tool} to ${file} (${mebibytes(bytes)}).\nOn the other server: npx toolforge-push tool import ${file}\n`,
      );
      return 0;
    } finally {
      if (draft !== null) await rm(draft, { force: true });
    }
  },
};

const importTool: TransferCommand = {
  name: 'tool import',
  usage: 'FILE [--as NAME] [--passphrase-file FILE]',
  summary: 'take a tool from a file that `tool export` has written, and deploy it',
  examples: ['tool import wikibot.tar', 'tool import wikibot.tar --as wikibot-two'],
  details: [
    'The tool must be in the user directory. To add it: npx toolforge-push tool add NAME --maintainer USER. On this server, the tool must have no deployments, releases, config vars, previews, tags or branches.',
    'The whole file is checked first. A file that is damaged, changed or not an export, or a wrong passphrase, changes nothing.',
    'The releases keep their numbers, but not their builds. The commit that was live is built here and becomes the next release, as by a push. If that fails, the history stays, nothing is live, and a maintainer can push.',
    PASSPHRASE,
  ],
  exitStatus:
    'Exit status: 0 if the tool is live, or if nothing was live in the file. 1 if the import is refused, or if the tool could not be deployed. 2 if the command line is wrong.',
  options: { as: { type: 'string' }, 'passphrase-file': { type: 'string' } },
  words: { min: 1, max: 1 },
  async run(context, [file = ''], flags) {
    await using source = await open(file, 'r').catch((cause: unknown) => {
      throw noFile(file, cause);
    });
    const passphrase = await readPassphrase(context, flags, false);
    async function* input() {
      yield* lineOf(passphrase);
      yield* source.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>;
    }
    const as = flags['as'];
    const name = as === undefined ? [] : ['--as', String(as)];
    const say = (to: (text: string) => Promise<void>) => async (chunk: Uint8Array) =>
      await to(Buffer.from(chunk).toString());
    return await context.call({
      ...{ argv: ['import-tool', ...name], input: input(), signal: context.interruption() },
      ...{ out: say(context.out), err: say(context.err) },
    });
  },
};

const renameTool: TransferCommand = {
  name: 'tool rename',
  usage: 'OLD NEW',
  summary: 'give a tool another name, on a server that runs tools on its own machine',
  examples: ['tool rename wikibot wiki-bot'],
  details: [
    'The repository, releases, config vars, deploy tokens, schedules, logs and the entry in directory.yaml get the new name. With LDAP, add NEW there first.',
    'The tool is down for a moment. Maintainers who push to the old name are told the new one, and so are visitors of the old address.',
    'The rename is refused while a deployment or a push runs, while the tool has previews, while a backup or an export is made, and if there is a tool NEW. In a cluster, use `tool export` and `tool import --as NEW`.',
  ],
  options: {},
  words: { min: 2, max: 2 },
  async run(context, [from = '', to = '']) {
    const say = (to: (text: string) => Promise<void>) => async (chunk: Uint8Array) =>
      await to(Buffer.from(chunk).toString());
    const argv = ['rename-tool', from, `--to=${to}`];
    return await context.call({ argv, input: null, out: say(context.out), err: say(context.err) });
  },
};

/**
 * The commands that move a tool to another server or rename it. Only people who may write the data folder can use them.
 */
export const transferCommands: readonly TransferCommand[] = [exportTool, importTool, renameTool];

/** Runs one of `transferCommands`. @returns the exit status. @throws DeployError if the command fails. */
export async function runTransfer(context: TransferContext): Promise<number> {
  return await runOperatorCommand(transferCommands, context, async (command, { flags, positionals }) =>
    command.run(context, positionals, flags),
  );
}

/**
 * Reads the passphrase of an exported file.
 *
 * @param isNew - True for a new export. At a terminal, the person is then asked twice, because nobody could open a file
 * with a mistyped passphrase.
 */
async function readPassphrase(
  { input, err }: TransferContext,
  flags: Flags,
  isNew: boolean,
): Promise<string> {
  const file = flags['passphrase-file'];
  if (file !== undefined) {
    const text = await readFile(String(file), 'utf8').catch((cause: unknown) => {
      throw noFile(String(file), cause);
    });
    return checked(text);
  }
  if (!(input instanceof ReadStream)) return checked(await readText(firstLine(input), MAX_PASSPHRASE_BYTES));
  const ask = async (what: string) => await readText(hiddenLine(input, what, err), MAX_PASSPHRASE_BYTES);
  const typed = checked(await ask('passphrase'));
  if (isNew && (await ask('passphrase again'))?.replace(/\r?\n$/, '') !== typed)
    throw new DeployError(
      'BAD_PASSPHRASE',
      'the two passphrases differ',
      'Nothing was written. Type the command again.',
    );
  return typed;
}

/** Returns the passphrase without its newline. @throws DeployError `BAD_PASSPHRASE` if it cannot be a passphrase. */
function checked(text: string | null): string {
  const line = (text ?? '').replace(/\r?\n$/, '');
  if (line !== '' && !/[\n\0]/.test(line) && Buffer.byteLength(line) <= MAX_PASSPHRASE_BYTES) return line;
  throw new DeployError(
    'BAD_PASSPHRASE',
    `the passphrase is empty, has more than one line, or has more than ${MAX_PASSPHRASE_BYTES} bytes`,
    'Nothing was done. Give a passphrase of one line.',
  );
}

async function* firstLine(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of input) {
    const end = chunk.indexOf(0x0a);
    yield end < 0 ? chunk : chunk.subarray(0, end + 1);
    if (end >= 0) return;
  }
}

async function* lineOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`${text}\n`);
}

function noFile(file: string, cause: unknown): unknown {
  const code = systemCode(cause);
  if (code === null) return cause;
  return new DeployError('NO_FILE', `the file ${file} cannot be read (${code})`, 'Check its path.', {
    cause,
  });
}
