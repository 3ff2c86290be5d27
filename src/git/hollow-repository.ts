import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { noneIfGone } from '../core/errors.ts';
import type { CommitId, ToolName } from '../core/names.ts';
import { readRefs, refNames } from './refs/ref-files.ts';
import type { Repositories } from './repositories.ts';

/**
 * True if a repository has lost objects that every push needs: the commit of the deploy branch or of the newest
 * release. Clients send only what these commits lack, so git refuses every push. If the repository has neither a deploy
 * branch nor a release, true if it has lost the commits of all its branches.
 *
 * @param torn - The names of damaged refs, which this check leaves out.
 * @param names - The names of all refs, if the caller has them.
 */
export async function isHollow(
  repositories: Repositories,
  tool: ToolName,
  torn: readonly string[] = [],
  names: readonly string[] | null = null,
): Promise<boolean> {
  const all = names ?? (await refNames(repositories, tool, ['refs/heads', 'refs/releases']));
  const whole = all.filter((name) => /^refs\/(heads|releases)\//.test(name) && !torn.includes(name));
  const branches = [`refs/heads/${repositories.deployBranch}`, 'refs/heads/master'];
  const branch = branches.find((name) => whole.includes(name));
  const newest = Math.max(0, ...whole.map(releaseNumber));
  const release = newest === 0 ? undefined : `${RELEASE}${newest}`;
  const needed = [branch, release].filter((name) => name !== undefined);
  const commits = [...(await readRefs(repositories, tool, needed.length > 0 ? needed : whole)).values()];
  const lost = commits.filter((commit) => !mayHave(repositories.folder(tool), commit));
  return lost.length > 0 && (needed.length > 0 || lost.length === commits.length);
}

const RELEASE = 'refs/releases/v';

function releaseNumber(name: string): number {
  const number = name.startsWith(RELEASE) ? Number(name.slice(RELEASE.length)) : 0;
  return Number.isSafeInteger(number) ? number : 0;
}

/** False if the repository `folder` certainly lacks this commit: the commit is neither a loose object nor in a pack. */
export function mayHave(folder: string, commit: CommitId): boolean {
  const objects = join(folder, 'objects');
  const loose = statSync(join(objects, commit.slice(0, 2), commit.slice(2)), { throwIfNoEntry: false });
  if ((loose?.size ?? 0) > 0 || existsSync(join(objects, 'info/alternates'))) return true;
  const names = namesIn(join(objects, 'pack'));
  return names.some(
    (name) =>
      name.endsWith('.idx') &&
      names.includes(name.replace(/idx$/, 'pack')) &&
      isInIndex(join(objects, 'pack', name), Buffer.from(commit, 'hex')),
  );
}

// gitformat-pack(5), "Version 2 pack-*.idx files": the magic number, 256 counts of ids by first byte, the sorted ids.
const MAGIC = Buffer.from([0xff, 0x74, 0x4f, 0x63, 0, 0, 0, 2]);
const HEAD_BYTES = MAGIC.length + 256 * 4;

/** True if an index of a pack contains an id, or has a format that this server does not know. */
function isInIndex(path: string, id: Buffer): boolean {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const head = Buffer.alloc(HEAD_BYTES);
    if (readSync(file, head, 0, HEAD_BYTES, 0) < HEAD_BYTES) return false;
    if (!head.subarray(0, MAGIC.length).equals(MAGIC)) return true;
    const countUpTo = (byte: number) => (byte < 0 ? 0 : head.readUInt32BE(MAGIC.length + byte * 4));
    const first = id.readUInt8(0);
    const [from, to] = [countUpTo(first - 1), countUpTo(first)];
    const ids = Buffer.alloc(Math.min(Math.max(0, to - from) * id.length, size));
    readSync(file, ids, 0, ids.length, HEAD_BYTES + from * id.length);
    for (let at = 0; at < ids.length; at += id.length) {
      if (ids.subarray(at, at + id.length).equals(id)) return true;
    }
    return false;
  } finally {
    closeSync(file);
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    return noneIfGone(error) ?? [];
  }
}
