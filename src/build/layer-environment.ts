import { join } from 'node:path';
import { tooLargeToPass } from '../sandbox/passable.ts';
import { isThere, listPlainFolder, readPlainFile } from './safe-files.ts';

export type Environment = Record<string, string>;

/** The variables that a layer's folders are put in front of, while building and while running. */
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

/** execve(2): no program is given more on Linux, however large its stack may be. */
const MOST_LENGTH = 6 * 1024 * 1024;

/** Where a buildpack's layers are: here, and as the code inside calls the place. */
export interface LayersPlace {
  /** The folder of all layers. */
  readonly folder: string;
  /** How code in the sandbox calls it. */
  readonly path: string;
}

/** The folder name of a buildpack's layers: its id with each `/` as `_`. */
export function escapeId(id: string): string {
  return id.replaceAll('/', '_');
}

/** Puts the layer's bin, lib and so on in front of the matching variables. */
export async function addLayerFolders(
  environment: Environment,
  place: LayersPlace,
  layer: readonly string[],
  kind: keyof typeof folderVariables,
): Promise<void> {
  for (const [folder, variable] of folderVariables[kind]) {
    if (!(await isThere(place.folder, [...layer, folder]))) continue;
    const path = join(place.path, ...layer, folder);
    environment[variable] = joined(path, ':', environment[variable] ?? '');
  }
}

/**
 * Applies the files of an `env` folder: `NAME` and `NAME.override` set, `NAME.default` sets what is not
 * there, `NAME.append` and `NAME.prepend` join with the text of `NAME.delim`. Other suffixes are ignored.
 *
 * @throws DeployError `NOT_PASSABLE`
 * @see https://github.com/buildpacks/spec/blob/main/buildpack.md#environment-variable-modification-rules
 */
export async function addEnvFolder(
  environment: Environment,
  root: string,
  parts: readonly string[],
): Promise<void> {
  let length = Object.entries(environment).reduce((sum, pair) => sum + pair.join('=').length, 0);
  for (const { name: file, isFile } of await orTooLarge(listPlainFolder(root, parts))) {
    if (!isFile) continue;
    const value = await orTooLarge(readPlainFile(root, [...parts, file]));
    if (value === null) continue;
    length += value.length;
    if (length > MOST_LENGTH) throw tooLargeToPass();
    const dot = file.indexOf('.');
    const name = dot < 0 ? file : file.slice(0, dot);
    const action = dot < 0 ? 'override' : file.slice(dot + 1);
    const delimiter = async () => (await orTooLarge(readPlainFile(root, [...parts, `${name}.delim`]))) ?? '';
    const before = environment[name] ?? '';
    if (action === 'override' || (action === 'default' && before === '')) environment[name] = value;
    if (action === 'prepend') environment[name] = joined(value, await delimiter(), before);
    if (action === 'append') environment[name] = before === '' ? value : before + (await delimiter()) + value;
  }
}

async function orTooLarge<Read>(reading: Promise<Read>): Promise<Read> {
  try {
    return await reading;
  } catch (error) {
    throw error instanceof RangeError ? tooLargeToPass({ cause: error }) : error;
  }
}

/** The build environment with the user's variables: they win, but are put in front of PATH and its like. */
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
