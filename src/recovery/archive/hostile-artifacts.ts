import { join } from 'node:path';
import { execa } from 'execa';

/**
 * An artifact with folders as deep as this is left out of the backup, because the memory that tar needs grows with the
 * square of the depth. No artifact of a real tool has such deep folders.
 */
const MOST_DEPTH = 200;
/**
 * An artifact with a path as long as this, counted with the path of the data folder, is left out of the backup. tar
 * cannot unpack paths of more than 4095 bytes.
 */
const MOST_PATH_BYTES = 1500;
/** The most memory (address space) of tar, 2 GiB. A backup of millions of files needs much less. */
export const TAR_BYTES = 2 * 1024 ** 3;
/**
 * tar keeps in memory the path of each file that has several hard links. These paths may take at most half of tar's
 * memory.
 */
const LINKED_BYTES = TAR_BYTES / 2;

const options = {
  env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  extendEnv: false,
  stdin: 'ignore',
  reject: false,
} as const;

/**
 * Returns the artifacts that could make the backup or the restore of all tools fail. The hard links of all artifacts
 * together need memory while a backup is made. If they need too much, also returns the artifacts whose hard links need
 * the most, until the rest needs little enough.
 *
 * @param artifacts - Their paths in the data folder.
 * @param wrapper - Words to put before a command, so that it can read the artifacts.
 */
export async function hostileArtifacts(
  data: string,
  artifacts: readonly string[],
  wrapper: readonly string[],
  signal: AbortSignal,
  mostLinkedBytes = LINKED_BYTES,
): Promise<Set<string>> {
  const hostile = new Set<string>();
  const others: { artifact: string; linked: number }[] = [];
  for (const artifact of artifacts) {
    signal.throwIfAborted();
    const folder = join(data, artifact);
    if (await isHostile(folder, wrapper)) hostile.add(artifact);
    else others.push({ artifact, linked: await linkedBytes(folder, wrapper) });
  }
  let left = mostLinkedBytes;
  for (const { artifact, linked } of others.sort((a, b) => a.linked - b.linked)) {
    left -= linked;
    if (left < 0) hostile.add(artifact);
  }
  return hostile;
}

async function isHostile(folder: string, wrapper: readonly string[]): Promise<boolean> {
  for (const test of [
    ['-mindepth', `${MOST_DEPTH}`],
    ['-path', `${'?'.repeat(MOST_PATH_BYTES)}*`],
    ['(', '-type', 'b', '-o', '-type', 'c', ')'],
  ]) {
    const [program = 'find', ...words] = [...wrapper, 'find', folder, ...test, '-print', '-quit'];
    const found = await execa(program, words, options);
    if (found.exitCode !== 0 || found.stdout !== '') return true;
  }
  return false;
}

/**
 * How much memory tar needs for those files of an artifact that have several hard links. If the links of a file are in
 * several artifacts, each artifact counts its part of the memory for this file.
 */
async function linkedBytes(folder: string, wrapper: readonly string[]): Promise<number> {
  const script = `find "$1" -type f -links +1 -printf '%i %n %p\\0' | tr '\\n\\0' ' \\n' | awk '
    { if (length > most[$1]) most[$1] = length; share[$1] += 1 / $2 }
    END { for (file in most) sum += (most[file] + 200) * share[file]; printf "%.0f", sum }'`;
  const [program = 'sh', ...words] = [...wrapper, 'sh', '-c', script, 'sh', folder];
  const { stdout } = await execa(program, words, options);
  return Number(stdout);
}
