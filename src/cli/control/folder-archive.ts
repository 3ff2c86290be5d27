import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { devNull } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import type { Pack } from 'tar-stream';
import { DeployError, noneIfGone, systemCode } from '../../core/errors.ts';
import type { CommandShape } from '../command.ts';
import { parseWords } from '../command-line/parse-words.ts';
import { UsageError } from '../command-line/usage-error.ts';

/**
 * The folder of toolforge-push itself. People type `npx toolforge-push` there, and may forget to name the folder of
 * their tool.
 */
const OWN_FOLDER = resolve(import.meta.dirname, '../../..');

/** The names of files and folders that `deploy` does not send if the folder is not a git work tree. */
const UNWANTED = new Set(['.git', 'node_modules', '__pycache__', '.venv', 'venv']);

/**
 * Reads `deploy [TOOL] [FOLDER] [-m MESSAGE]`. Without TOOL, the remote `toolforge` of the folder's git repository
 * names the tool. A single word with a slash or a full stop is the folder; the folder of the terminal is the default.
 *
 * @returns the words for the server, and the files of the folder as a tar. Null if the server gets its input from
 * standard input, or if the words are wrong, so that the server explains them.
 * @throws DeployError `NO_FOLDER` if there is no such folder; `OWN_FOLDER` if it is that of toolforge-push itself;
 * `NO_REMOTE` if TOOL is missing and no remote names the tool.
 */
export async function folderToDeploy(
  command: CommandShape,
  words: readonly string[],
): Promise<{ readonly argv: readonly string[]; readonly tar: AsyncIterable<Uint8Array> } | null> {
  const parsed = parsedWords(command, words);
  if (parsed === null || parsed.flags['help'] === true || parsed.positionals.length > 2) return null;
  const [first, second] = parsed.positionals;
  if (second === '-' || first === '-') return null;
  const isFolder = first !== undefined && second === undefined && /[./]/.test(first);
  const folder = resolve((isFolder ? first : second) ?? '.');
  const isThere = (await lstatOf(folder))?.isDirectory() === true || (await isLinkToFolder(folder));
  if (!isThere)
    throw new DeployError('NO_FOLDER', `there is no folder ${folder}`, 'Check the name of the folder.');
  if (folder === OWN_FOLDER)
    throw new DeployError(
      'OWN_FOLDER',
      `the folder ${folder} is that of toolforge-push itself`,
      'Name the folder of the tool: deploy TOOL FOLDER',
    );
  const tool = first === undefined || isFolder ? await toolOf(folder) : first;
  const flags = Object.entries(parsed.flags).map(([name, value]) =>
    typeof value === 'string' ? `--${name}=${value}` : `--${name}`,
  );
  return { argv: [command.name, tool, '-', ...flags], tar: folderArchive(folder) };
}

function parsedWords(command: CommandShape, words: readonly string[]) {
  try {
    return parseWords(command, words);
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

/** Yields the files of a folder as a tar. @throws DeployError `BAD_FOLDER` if a file cannot be read or deployed. */
async function* folderArchive(folder: string): AsyncGenerator<Uint8Array> {
  const { pack } = await import('tar-stream');
  const tar = pack();
  const paths = (await filesOfGit(folder)) ?? filesBelow(folder, '');
  const filling = fill(tar, folder, paths);
  // If `fill` fails, end `tar` with its error, so that `yield*` throws this error.
  filling.catch((error: Error) => tar.destroy(error));
  yield* tar as AsyncIterable<Uint8Array>;
  await filling;
}

async function fill(
  tar: Pack,
  folder: string,
  paths: Iterable<string> | AsyncIterable<string>,
): Promise<void> {
  const folders = new RealFolders(folder);
  for await (const path of paths) {
    // Leave out files behind a symbolic link. A git index that somebody else made can name files behind a link that
    // leads out of the folder.
    if (!(await folders.has(dirname(path)))) continue;
    if (path.includes('\ufffd')) throw badFolder(`a file has a name that is not UTF-8: ${path}`);
    await addTo(tar, path, join(folder, path)).catch((error: unknown) => {
      const code = systemCode(error);
      throw code === null ? error : badFolder(`the file ${path} cannot be read (${code})`);
    });
  }
  tar.finalize();
}

/** Adds a file or a symbolic link. Leaves out files that are gone, folders, sockets, pipes and devices, as git does. */
async function addTo(tar: Pack, name: string, path: string): Promise<void> {
  const stats = await lstatOf(path);
  if (stats?.isSymbolicLink() === true) {
    tar.entry({ name, type: 'symlink', linkname: await readlink(path), mtime: stats.mtime });
    return;
  }
  if (stats?.isFile() !== true) return;
  const { size, mode, mtime } = stats;
  const header = { name, size, mode: (mode & 0o111) === 0 ? 0o644 : 0o755, mtime };
  if (size === 0) tar.entry(header, '');
  else await pipeline(createReadStream(path, { end: size - 1 }), tar.entry(header));
}

/** The files of a git work tree that are not ignored. Null if git fails, for example in a folder without git. */
async function filesOfGit(folder: string): Promise<Set<string> | null> {
  const listed = await git(folder, ['ls-files', '-z', '--cached', '--others', '--exclude-standard']);
  return listed === null ? null : new Set(listed.split('\0').filter((path) => path !== ''));
}

/**
 * Runs git in a folder that somebody else may have made, with hostile settings in its `.git`. So git must start no
 * program that these settings name: no hook, no monitor of files, and none that fetches missing objects.
 *
 * @returns what git prints. Null if git fails.
 */
async function git(folder: string, args: readonly string[]): Promise<string | null> {
  const settings = ['-c', 'core.fsmonitor=false', '-c', `core.hooksPath=${devNull}`];
  const { exitCode, stdout } = await execa('git', [...settings, '-C', folder, ...args], {
    env: { GIT_ALLOW_PROTOCOL: 'none', GIT_NO_LAZY_FETCH: '1' },
    reject: false,
    stdin: 'ignore',
    stripFinalNewline: false,
  });
  return exitCode === 0 ? stdout : null;
}

/** Finds out which folders below `top` can be reached without a symbolic link. */
class RealFolders {
  readonly #top: string;
  readonly #known = new Map<string, boolean>([['.', true]]);

  constructor(top: string) {
    this.#top = top;
  }

  async has(path: string): Promise<boolean> {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const isIn = !isAbsolute(path) && basename(path) !== '..' && (await this.has(dirname(path)));
    const isReal = isIn && (await lstatOf(join(this.#top, path)))?.isDirectory() === true;
    this.#known.set(path, isReal);
    return isReal;
  }
}

async function* filesBelow(top: string, below: string): AsyncGenerator<string> {
  for (const entry of await readdir(join(top, below), { withFileTypes: true })) {
    const path = join(below, entry.name);
    if (UNWANTED.has(entry.name)) continue;
    if (entry.isDirectory()) yield* filesBelow(top, path);
    else yield path;
  }
}

/** The tool that the git remote `toolforge` names. @throws DeployError `NO_REMOTE` if there is no such remote. */
async function toolOf(folder: string): Promise<string> {
  const url = await git(folder, ['remote', 'get-url', 'toolforge']);
  const name = /([^/:]+?)(\.git)?\/?$/.exec(url?.trim() ?? '')?.[1];
  if (name !== undefined) return name;
  throw new DeployError(
    'NO_REMOTE',
    `the folder ${folder} has no git remote “toolforge” that names its tool`,
    'Name the tool: deploy TOOL FOLDER',
  );
}

async function lstatOf(path: string) {
  return await lstat(path).catch(noneIfGone);
}

async function isLinkToFolder(path: string): Promise<boolean> {
  return (await lstatOf(join(path, '.')))?.isDirectory() === true;
}

function badFolder(message: string): DeployError {
  return new DeployError('BAD_FOLDER', message, 'Nothing was deployed.');
}
