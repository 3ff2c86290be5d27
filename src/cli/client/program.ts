import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { WriteStream } from 'node:tty';
import { DeployError, systemCode } from '../../core/errors.ts';
import type { CommandShape } from '../command.ts';
import { findCommand } from '../command-line/find-command.ts';
import { folderToDeploy } from '../control/folder-archive.ts';

/** The arguments, the environment and the streams with which somebody has started `toolforge-push`. */
export interface Program {
  readonly argv: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly input: AsyncIterable<Uint8Array>;
  readonly out: Writable;
  readonly err: Writable;
}

/** Writes to a stream. If the buffer of the stream is full, waits until the reader has emptied it. */
export async function write(stream: Writable, data: string | Uint8Array): Promise<void> {
  if (stream.errored !== null) throw stream.errored;
  if (data.length > 0 && !stream.write(data)) await once(stream, 'drain');
}

/** A command line as the server gets it, and the standard input of the command. */
export interface WithInput {
  readonly argv: readonly string[];
  /** This process's own input, none, or the content of the file or folder that the line names. */
  readonly input: 'own' | 'none' | AsyncIterable<Uint8Array>;
  /** Returns the error that ended the reading of a folder, or null. The server sees only that the connection ended. */
  readonly readError: () => unknown;
}

/**
 * Reads the file or folder of a command that takes one, and finds out whether the command may need standard input.
 * Other commands must not get standard input. Otherwise a command inside a shell's `while read` loop would read the
 * input of the loop.
 *
 * @throws DeployError `NO_FILE` if the file cannot be read; `OUTPUT_TO_TERMINAL` if a terminal would get a tar; the
 * errors of `folderToDeploy`.
 */
export async function withInput(
  commands: readonly CommandShape[],
  argv: readonly string[],
  out: Writable,
): Promise<WithInput> {
  const found = findCommand(commands, argv);
  const readError = () => null;
  if (found?.command.isBinary === true && out instanceof WriteStream) throw toTerminal(argv);
  const folder =
    found?.command.takesFolder === true ? await folderToDeploy(found.command, found.words) : null;
  if (folder !== null) return { argv: folder.argv, ...noting(folder.tar) };
  const file = found?.command.takesFile === true ? fileWord(found.words) : null;
  if (file !== null)
    return { argv: argv.with(argv.lastIndexOf(file), '-'), input: bytesOf(readNamed(file)), readError };
  const mayRead = found?.command.takesTerminal === true || argv.includes('-');
  return { argv, input: mayRead ? 'own' : 'none', readError };
}

/** Returns the word that names a file: the second word that is not a flag. Null if this word is missing or `-`. */
function fileWord(words: readonly string[]): string | null {
  const file = words.filter((word) => word === '-' || !word.startsWith('-'))[1];
  return file === undefined || file === '-' ? null : file;
}

/** `input` yields the bytes of the source. `readError` returns the error that ended the source, or null. */
function noting(source: AsyncIterable<Uint8Array>): Pick<WithInput, 'input' | 'readError'> {
  let failure: unknown = null;
  async function* input() {
    try {
      yield* source;
    } catch (error) {
      failure = error;
      throw error;
    }
  }
  return { input: input(), readError: () => failure };
}

function toTerminal(argv: readonly string[]): DeployError {
  return new DeployError(
    'OUTPUT_TO_TERMINAL',
    'a tar is not shown on a terminal',
    `Write it to a file: ${argv.join(' ')} > file.tar`,
  );
}

async function* bytesOf(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

/** Reads a file that the command line names. @throws DeployError `NO_FILE` if it cannot be read. */
function readNamed(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    const code = systemCode(cause);
    if (code === null) throw cause;
    throw new DeployError(
      'NO_FILE',
      `the file ${file} cannot be read (${code})`,
      'Check the name of the file.',
      { cause },
    );
  }
}
