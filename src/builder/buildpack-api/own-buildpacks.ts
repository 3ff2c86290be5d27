import { posix } from 'node:path';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { DeployError } from '../../core/errors.ts';
import { MAX_PROJECT_BYTES } from '../source/project-toml.ts';
import { hasEntry, readPlainFile } from '../source/safe-files.ts';
import { shown } from '../source/yaml/settings-file.ts';
import { type DescribedBuildpack, readBuildpackFolder } from './buildpack-folder.ts';
import type { BuildpackStore } from './buildpack-store.ts';

const FILE = 'project.toml';
/** Each list of project.toml, such as `pre.group`, may name at most this many buildpacks of the repository. */
const MAX_OWN = 10;

/** A buildpack in the repository of a tool. */
export interface OwnBuildpack extends DescribedBuildpack {
  /** The path of the buildpack's folder below the top of the source, without `.` and `..`. Empty for the top itself. */
  readonly path: string;
}

/**
 * The buildpacks that a tool brings in its repository and names in project.toml, in three groups by when they build.
 */
export interface OwnBuildpacks {
  /** The buildpacks that project.toml lists in `pre.group`. They build before all others. */
  readonly first: readonly OwnBuildpack[];
  /**
   * The buildpacks that project.toml lists in `group`. They build directly before the server's buildpack `procfile`. If
   * a group of the server's order.toml has no `procfile`, they build after all buildpacks of that group.
   */
  readonly beforeProcfile: readonly OwnBuildpack[];
  /** The buildpacks that project.toml lists in `post.group`. They build after all others. */
  readonly last: readonly OwnBuildpack[];
  /** A warning about the names of buildpacks in project.toml that have no effect. Empty if all have an effect. */
  readonly warnings: readonly string[];
}

/**
 * The id of the buildpack that checks the commands of the Procfile. All programs must be installed before this
 * buildpack builds.
 */
export const PROCFILE = 'toolforge/procfile';

const entries = z
  .array(
    z.object({
      id: z.string().optional(),
      uri: z.string().optional(),
      script: z.unknown().optional(),
    }),
  )
  .default([]);
const group = z.object({ group: entries }).prefault({});
const io = z.object({ group: entries, pre: group, post: group }).prefault({});
const descriptor = z.object({
  io: z.object({ buildpacks: io }).prefault({}),
  // In a project.toml of version 0.1 of the specification, the table `build` has the buildpacks that newer versions
  // have in `group`.
  build: z.object({ buildpacks: entries }).prefault({}),
});
type Entry = z.output<typeof entries>[number];

/**
 * Reads each buildpack that project.toml names and that is a folder of the repository. Other names have no effect,
 * because the files of a tool decide which buildpacks of the server take part.
 *
 * @throws DeployError `BUILD_PROJECT_TOML` if project.toml cannot be used (but a file that is not valid TOML counts as
 *   empty); `BAD_BUILDPACK` if a buildpack cannot be used.
 * @see https://github.com/buildpacks/spec/blob/main/extensions/project-descriptor.md
 */
export async function readOwnBuildpacks(source: string): Promise<OwnBuildpacks> {
  const text = await readText(source);
  const { io, build } = readDescriptor(text);
  const { pre, group, post } = io.buildpacks;
  const others: string[] = [];
  const [first, beforeProcfile, last] = [
    await ownOf({ source, text }, pre.group, others),
    await ownOf({ source, text }, [...group, ...build.buildpacks], others),
    await ownOf({ source, text }, post.group, others),
  ];
  const own = { first, beforeProcfile, last, warnings: others.length === 0 ? [] : [withoutEffect(others)] };
  const ids = ownIds(own);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined)
    throw unusable(`names two buildpacks with the id ${twice}`, 'Give each buildpack an id of its own.');
  return own;
}

/** The ids of a tool's own buildpacks. */
export function ownIds({ first, beforeProcfile, last }: OwnBuildpacks): string[] {
  return [...first, ...beforeProcfile, ...last].map(({ id }) => id);
}

/** A tool's own buildpacks without the one that has this id. */
export function withoutOwn(
  { first, beforeProcfile, last, warnings }: OwnBuildpacks,
  id: string,
): OwnBuildpacks {
  const others = (list: readonly OwnBuildpack[]) => list.filter((own) => own.id !== id);
  return { first: others(first), beforeProcfile: others(beforeProcfile), last: others(last), warnings };
}

/**
 * Adds the buildpacks of a tool to each group of the server's buildpacks.
 *
 * @throws DeployError `BAD_BUILDPACK` if a buildpack of the tool has the id of a buildpack of the server.
 */
export function withOwnBuildpacks(store: BuildpackStore, own: OwnBuildpacks): BuildpackStore {
  const ids = ownIds(own);
  const taken = store.order.flat().find(({ buildpack }) => ids.includes(buildpack.id));
  if (taken !== undefined) throw idTaken(taken.buildpack.id);
  const members = (list: readonly OwnBuildpack[]) =>
    list.map(({ path, ...described }) => ({
      buildpack: { ...described, place: 'workspace' as const, folder: path },
      isOptional: false,
    }));
  const [first, beforeProcfile, last] = [own.first, own.beforeProcfile, own.last].map(members);
  return {
    ...store,
    order: store.order.map((group) => {
      const found = group.findIndex(({ buildpack }) => buildpack.id === PROCFILE);
      const end = found < 0 ? group.length : found;
      return [first, group.slice(0, end), beforeProcfile, group.slice(end), last].flatMap(
        (list) => list ?? [],
      );
    }),
    named: [...store.named, ...ids],
  };
}

/**
 * Of the buildpacks in one list of project.toml, reads those that are folders of the repository.
 *
 * @param others - The function adds to this list the names of the buildpacks that are not in the repository.
 */
async function ownOf(
  { source, text }: { readonly source: string; readonly text: string },
  list: readonly Entry[],
  others: string[],
): Promise<OwnBuildpack[]> {
  const own: OwnBuildpack[] = [];
  for (const entry of list) {
    const path = await pathOf(source, entry);
    if (path === null) {
      others.push(entry.uri ?? entry.id ?? '');
      continue;
    }
    if (own.length === MAX_OWN)
      throw unusable(
        `names more than ${MAX_OWN} buildpacks of the repository`,
        'Put several steps into one buildpack.',
      );
    const parts = path === '' ? [] : path.split('/');
    const described = await readBuildpackFolder(source, parts, path === '' ? '.' : path).catch(
      (error: unknown) => {
        throw error instanceof DeployError ? namedBy(text, entry, error) : error;
      },
    );
    own.push({ ...described, path });
  }
  return own;
}

/** Returns the error about a buildpack's folder, with the line of project.toml that names the buildpack added to it. */
function namedBy(text: string, { uri = '' }: Entry, error: DeployError): DeployError {
  const values = [`"${uri}"`, `'${uri}'`];
  const index = text
    .split('\n')
    .findIndex((line) => /^[^#]*\buri\s*=/.test(line) && values.some((value) => line.includes(value)));
  const where = index < 0 ? '' : ` (line ${index + 1})`;
  const message = `the file ${FILE} names the buildpack ${shown(uri)}${where}, but ${error.message}`;
  return new DeployError(error.code, message, error.hint, { cause: error });
}

/** Returns the text of project.toml. Empty if there is no such file. */
async function readText(source: string): Promise<string> {
  try {
    return (await readPlainFile(source, [FILE], MAX_PROJECT_BYTES)) ?? '';
  } catch (error) {
    throw error instanceof RangeError
      ? unusable(`is larger than ${MAX_PROJECT_BYTES} bytes`, 'Remove what it does not need.')
      : error;
  }
}

function readDescriptor(text: string): z.output<typeof descriptor> {
  let content: unknown;
  try {
    content = parse(text.replace(/^\uFEFF/, ''));
  } catch {
    // A file that is not valid TOML counts as empty here, because `readProjectToml` already warns about it.
    content = {};
  }
  const { success, data, error } = descriptor.safeParse(content);
  if (success) return data;
  const [issue] = error.issues;
  throw unusable(
    `cannot be used: ${issue?.path.join('.')}: ${issue?.message}`,
    'A buildpack is named by two lines: [[io.buildpacks.group]] and uri = "./my-buildpack".',
  );
}

/**
 * The path of a buildpack below the top of the source. Null if the entry has no `uri`, or if its `uri` is the address
 * or name of another buildpack. A bare name is a path only if the repository has a folder of this name with a
 * buildpack.toml.
 *
 * @throws DeployError `BUILD_PROJECT_TOML` if the entry has an inline script, or a path that cannot be in the
 *   repository.
 */
async function pathOf(source: string, { id, uri, script }: Entry): Promise<string | null> {
  if (script !== undefined)
    throw unusable(
      `has an inline script as the buildpack ${JSON.stringify(id ?? '').slice(0, 80)}`,
      'Put the script into a folder of the repository, as bin/build of a buildpack: see docs/writing-a-buildpack.md.',
    );
  if (uri === undefined) return null;
  const name = uri.replace(/^file:(\/\/)?/, '');
  const path = posix.normalize(name).replace(/\/+$/, '').replace(/^\.$/, '');
  const isPath = name !== uri || /^\.{0,2}\/|^\.{1,2}$/.test(name);
  // Refuse control characters: Node.js throws an ordinary error if a path has a NUL, and no honest path has one of the
  // others.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these characters are the ones to refuse
  const hasControls = /[\x00-\x1f]/.test(path);
  const isThere = async () =>
    !hasControls && (await hasEntry(source, [...path.split('/'), 'buildpack.toml']));
  if (!isPath && (/:/.test(name) || !(await isThere()))) return null;
  const isInside = !path.startsWith('/') && path !== '..' && !path.startsWith('../');
  if (!isInside || hasControls)
    throw unusable(
      `names the buildpack ${JSON.stringify(uri).slice(0, 200)}, which is not in the repository`,
      'Name a folder of the repository by its path from the top: uri = "./my-buildpack".',
    );
  return path;
}

function withoutEffect(names: readonly string[]): string {
  // Shorten the names and replace unusual characters, because a maintainer can write any text into project.toml.
  const shown = names.slice(0, 5).map((name) => name.replace(/[^\x20-\x7e]/g, '?').slice(0, 100));
  const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : '';
  const they = names.length === 1 ? 'This name has' : 'These names have';
  return `${FILE} names ${shown.join(', ')}${more}. ${they} no effect, because the files of the tool decide which buildpacks of this server take part.`;
}

function idTaken(id: string): DeployError {
  return new DeployError(
    'BAD_BUILDPACK',
    `the file ${FILE} names a buildpack with the id ${id}, but this server has a buildpack of this id`,
    'Choose another id in the buildpack.toml of your buildpack.',
  );
}

function unusable(why: string, hint: string): DeployError {
  return new DeployError('BUILD_PROJECT_TOML', `the file ${FILE} ${why}`, hint);
}
