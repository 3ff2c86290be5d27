import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { isAbsent, namesIn } from '../core/disk/names-in.ts';

/** The two Debian trees of a stack: builds see `build`, and the processes of tools see `run`. */
export type TreeName = 'build' | 'run';

/** Two Debian trees that sandboxes show instead of this machine's /usr and /etc. */
export interface Stack {
  /** The name of the stack's folder, such as `trixie-2`. */
  readonly id: string;
  /** The Debian release, such as `trixie`. */
  readonly name: string;
  /** 1 for the first stack of this name on this machine, 2 for the second, and so on. */
  readonly version: number;
  /** A hash of the list of packages from which the stack was made: `PackageList.hash`. */
  readonly packages: string;
  /** When the stack was made, in milliseconds since 1970. */
  readonly madeAt: number;
}

/** The file that describes a stack, in the stack's folder. */
const DESCRIPTION = 'stack.json';
/** The file that names the stack of an artifact, in the artifact's folder. */
const MARK = 'stack';
const ID = /^[a-z]+-\d{1,6}$/;
const description = z.object({
  name: z.string(),
  version: z.number(),
  packages: z.string(),
  madeAt: z.number(),
});

/** The Debian release of a stack: `trixie` for `trixie-2`. Null if `id` is null: this machine's own /usr. */
export function nameOfStack(id: string | null): string | null {
  return id?.replace(/-\d+$/, '') ?? null;
}

/** The folder with all stacks. */
export function stacksFolder(data: string): string {
  return join(data, 'stacks');
}

/** The link to the folder with the present trees of a stack. An update replaces the link. */
export function treesOf(data: string, id: string): string {
  return join(stacksFolder(data), id, 'trees');
}

/** The root folder of one tree. */
export function treeOf(data: string, id: string, tree: TreeName): string {
  return join(treesOf(data, id), tree);
}

/** Lists the stacks, the newest first. */
export async function listStacks(data: string): Promise<Stack[]> {
  const stacks = await Promise.all((await namesIn(stacksFolder(data))).map((id) => readStack(data, id)));
  return stacks.filter((stack) => stack !== null).sort((one, other) => other.madeAt - one.madeAt);
}

/** The stack that new builds use. Null if this machine has no stack. */
export async function newestStack(data: string): Promise<Stack | null> {
  return (await listStacks(data))[0] ?? null;
}

/**
 * Returns the `madeAt` of a new stack, in milliseconds since 1970: the present time, or if the clock was set back, a
 * time after the `madeAt` of all other stacks. So the new stack is the newest.
 */
export function madeAfter(stacks: readonly Stack[], now = Date.now()): number {
  return Math.max(now, ...stacks.map(({ madeAt }) => madeAt + 1));
}

async function readStack(data: string, id: string): Promise<Stack | null> {
  if (!ID.test(id)) return null;
  try {
    const text = await readFile(join(stacksFolder(data), id, DESCRIPTION), 'utf8');
    return { id, ...description.parse(JSON.parse(text)) };
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/** Writes the description of a stack into the stack's folder. */
export async function describeStack(folder: string, { id: _, ...rest }: Stack): Promise<void> {
  await writeFile(join(folder, DESCRIPTION), `${JSON.stringify(rest)}\n`, { mode: 0o644, flush: true });
}

/** Records in the folder of an artifact that the artifact is built on this stack. */
export async function markStack(artifactFolder: string, id: string): Promise<void> {
  await writeFile(join(artifactFolder, MARK), `${id}\n`, { mode: 0o600, flag: 'wx', flush: true });
}

/** The id of the stack on which an artifact was built. Null if it was built on this machine's own /usr. */
export function stackOf(artifactFolder: string): string | null {
  try {
    const id = readFileSync(join(artifactFolder, MARK), 'utf8').trim();
    return ID.test(id) ? id : null;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/**
 * The tree in which an artifact runs. Null if the artifact was built on this machine's own /usr.
 *
 * @param artifactFolder - The folder `artifacts/TOOL/ID` in the data folder.
 */
export function runTree(artifactFolder: string): string | null {
  const id = stackOf(artifactFolder);
  return id === null ? null : treeOf(resolve(artifactFolder, '../../..'), id, 'run');
}

/** The ids of the stacks of all artifacts in the data folder, also of artifacts whose builds still run. */
export async function stacksInUse(data: string): Promise<ReadonlySet<string>> {
  const used = new Set<string>();
  for (const tool of await namesIn(join(data, 'artifacts'))) {
    for (const artifact of await namesIn(join(data, 'artifacts', tool))) {
      const id = stackOf(join(data, 'artifacts', tool, artifact));
      if (id !== null) used.add(id);
    }
  }
  return used;
}
