import { join } from 'node:path';
import { tooLargeToPass } from '../../sandbox/process/argument-limits.ts';
import { hasEntry, listPlainFolder, readPlainFile } from '../source/safe-files.ts';

export type Environment = Record<string, string>;

/**
 * Pairs of the name of a folder and a variable. If a layer has the folder, its path is put before the value of the
 * variable. The pairs in `build` are for builds, those in `launch` for running processes.
 */
const folderVariables = {
  build: [
    ['bin', 'PATH'],
    ['lib', 'LD_LIBRARY_PATH'],
    ['lib', 'LIBRARY_PATH'],
    ['include', 'CPATH'],
    ['pkgconfig', 'PKG_CONFIG_PATH'],
  ],
  launch: [
    ['bin', 'PATH'],
    ['lib', 'LD_LIBRARY_PATH'],
  ],
} as const;

const pathVariables: ReadonlySet<string> = new Set(folderVariables.build.map(([, variable]) => variable));

/** The most bytes of arguments and environment that Linux passes to a program, whatever its stack limit: execve(2). */
const MAX_LENGTH = 6 * 1024 * 1024;

/**
 * The suffixes of the files in an `env` folder, which say how a file changes a variable. For example, `PATH.prepend`
 * has text to put before the value of PATH, and `PATH.delim` has the text between the two.
 */
const ACTIONS: ReadonlySet<string> = new Set(['override', 'default', 'prepend', 'append', 'delim']);

/**
 * Each `env` folder, and each entry in one, adds this many characters to the length that `MAX_LENGTH` limits. Even an empty
 * one does, because reading it takes time at each start of a process.
 */
const FILE_LENGTH = 24 * 1024;

/**
 * Counts the characters of the files in the `env` folders of layers while these are read. Throws an error if they are
 * too many to be passed to a program as environment variables.
 */
export class EnvLength {
  #length = 0;

  /**
   * Adds `more` characters to the count. @throws DeployError `NOT_PASSABLE` if the count is now more than `MAX_LENGTH`.
   */
  add(more: number): void {
    this.#length += more;
    if (this.#length > MAX_LENGTH) throw tooLargeToPass();
  }
}

/** For each environment: how many characters `addEnvFolder` has read from `env` folders for it so far. */
const readFor = new WeakMap<Environment, EnvLength>();

/** The paths of the layers, on this machine and inside the sandbox. */
export interface LayersPlace {
  /** The folder of all layers on this machine. */
  readonly folder: string;
  /** The path of the folder of all layers inside the sandbox. */
  readonly path: string;
}

/** The name of the folder for a buildpack's layers: its id, with `_` for each `/`. */
export function escapeId(id: string): string {
  return id.replaceAll('/', '_');
}

/**
 * Puts the paths of a layer's folders at the start of environment variables: `bin` at the start of PATH, `lib` at the
 * start of LD_LIBRARY_PATH, and so on (`folderVariables`). Skips folders that the layer does not have.
 */
export async function addLayerFolders(
  environment: Environment,
  place: LayersPlace,
  layer: readonly string[],
  kind: keyof typeof folderVariables,
): Promise<void> {
  for (const [folder, variable] of folderVariables[kind]) {
    if (!(await hasEntry(place.folder, [...layer, folder]))) continue;
    const path = join(place.path, ...layer, folder);
    environment[variable] = joined(path, ':', environment[variable] ?? '');
  }
}

/**
 * Applies the files of an `env` folder. `NAME` and `NAME.override` set the variable; `NAME.default` sets it if it has
 * no value. `NAME.append` adds to the end of the value and `NAME.prepend` to the start, with the text of `NAME.delim`
 * between. Other suffixes are ignored.
 *
 * @throws DeployError `NOT_PASSABLE` if the files that all calls for `environment` have read are too large together:
 * see `EnvLength`.
 * @see https://github.com/buildpacks/spec/blob/main/buildpack.md#environment-variable-modification-rules
 */
export async function addEnvFolder(
  environment: Environment,
  root: string,
  parts: readonly string[],
): Promise<void> {
  const length = readFor.get(environment) ?? new EnvLength();
  readFor.set(environment, length);
  const texts = await readEnvFolder(length, root, parts);
  for (const [file, value] of texts) {
    const [name, action] = variableOf(file);
    const delimiter = texts.get(`${name}.delim`) ?? '';
    const before = environment[name] ?? '';
    if (action === 'override' || (action === 'default' && before === '')) environment[name] = value;
    if (action === 'prepend') environment[name] = joined(value, delimiter, before);
    if (action === 'append') environment[name] = before === '' ? value : before + delimiter + value;
  }
}

/**
 * Reads the plain files of an `env` folder that have no suffix or a suffix in `ACTIONS`.
 *
 * @param length - Counts the characters of these files, and `FILE_LENGTH` for the folder and for each of its entries.
 *   Give the same `length` for all folders that must not be too large together.
 * @returns the text of each file by the file's name, in the order of the names.
 * @throws DeployError `NOT_PASSABLE` if `length` has counted too many, or if the folder has too many entries or a file
 *   is too large to read.
 */
export async function readEnvFolder(
  length: EnvLength,
  root: string,
  parts: readonly string[],
): Promise<Map<string, string>> {
  const entries = await orTooLarge(listPlainFolder(root, parts));
  length.add((1 + entries.length) * FILE_LENGTH);
  // The path can simply be joined, because `listPlainFolder` returns entries only if none of `parts` is a symbolic
  // link.
  const folder = join(root, ...parts);
  const texts = new Map<string, string>();
  for (const { name, isFile } of entries) {
    if (!isFile || !ACTIONS.has(variableOf(name)[1])) continue;
    const text = await orTooLarge(readPlainFile(folder, [name]));
    if (text === null) continue;
    length.add(text.length);
    texts.set(name, text);
  }
  return texts;
}

/** The variable that a file of an `env` folder changes, and how. */
function variableOf(file: string): [name: string, action: string] {
  const dot = file.indexOf('.');
  return dot < 0 ? [file, 'override'] : [file.slice(0, dot), file.slice(dot + 1)];
}

async function orTooLarge<Read>(reading: Promise<Read>): Promise<Read> {
  try {
    return await reading;
  } catch (error) {
    throw error instanceof RangeError ? tooLargeToPass({ cause: error }) : error;
  }
}

/**
 * Adds the variables of the operator and of the tool to the build environment. A variable replaces the variable of the
 * same name. But a list of folders, such as PATH, is put before the list that the environment already has.
 */
export function withPlatformVariables(
  environment: Readonly<Environment>,
  variables: Readonly<Record<string, string>>,
): Environment {
  const result = { ...environment };
  for (const [name, value] of Object.entries(variables)) {
    result[name] = pathVariables.has(name) ? joined(value, ':', result[name] ?? '') : value;
  }
  return result;
}

function joined(first: string, delimiter: string, second: string): string {
  return second === '' ? first : first + delimiter + second;
}
