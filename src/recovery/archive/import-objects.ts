import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecaError, execa } from 'execa';
import type { Log } from '../../core/log/log.ts';
import type { ToolName } from '../../core/names.ts';
import type { TarEntry } from '../../git/archive/read-tar.ts';
import { UPLOAD_PACK } from '../../git/git-environment.ts';
import { type GitProcess, pump, startGit } from '../../git/git-process.ts';
import { parkedFolder } from '../../git/push/truthful-push.ts';
import { refNames } from '../../git/refs/ref-files.ts';
import { updateRefs } from '../../git/refs/ref-transaction.ts';
import type { Repositories } from '../../git/repositories.ts';
import { PARTS } from './export-tool.ts';
import { assertEnd, badExport, damaged, nextOf } from './read-export.ts';
import type { ToolManifest } from './tool-manifest.ts';

/** The time limit for each git command that reads, checks or copies the objects of an import. */
const GIT_MS = 10 * 60_000;

/**
 * Puts the objects of an exported file into a new repository in `folder`. git checks them as in a push. The live commit
 * and all tags of the manifest must be among them. The maker of the file may be hostile, so git has the same limits as
 * for clients.
 *
 * @throws DeployError `BAD_ARCHIVE` if git refuses the objects, or if the live commit or a tag is missing; an error if
 * the signal fires.
 */
export async function takePack(
  repositories: Repositories,
  {
    entries,
    manifest,
    folder,
  }: { readonly entries: AsyncGenerator<TarEntry>; readonly manifest: ToolManifest; readonly folder: string },
  signal: AbortSignal,
): Promise<void> {
  const { pack, shallow, releases, tags, live } = manifest;
  if (pack === null) {
    if (live !== null || tags.length > 0) throw badExport('it has no repository');
    return await assertEnd(entries);
  }
  for (const part of ['refs', 'objects/pack'])
    await mkdir(join(folder, part), { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'HEAD'), 'ref: refs/heads/none\n');
  if (shallow.length > 0) await writeFile(join(folder, 'shallow'), shallow.map((id) => `${id}\n`).join(''));
  await indexPack(repositories, { pack, folder, entry: await nextOf(entries, PARTS[2]) }, signal);
  await assertEnd(entries);
  const git: GitIn = { repositories, folder, signal };
  const commits = new Map(releases.map(({ version, commit }) => [version, commit]));
  const liveCommit = live === null ? [] : [commits.get(live) ?? ''];
  const wanted = [...new Set([...liveCommit, ...tags.map(({ id }) => id)])];
  const there = await objectsOf(git, wanted);
  if (wanted.some((id) => !there.has(id))) throw badExport('its repository lacks the live commit or a tag');
  const ids = [...new Set([...wanted, ...(await objectsOf(git, [...commits.values()]))])];
  await run(git, ['rev-list', '--objects', '--quiet', '--stdin'], ids).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error instanceof ExecaError ? badExport('its repository is not whole') : error;
  });
  await writeFile(
    join(folder, 'packed-refs'),
    ids.map((id, index) => `${id} refs/import/${index}\n`).join(''),
  );
}

async function indexPack(
  repositories: Repositories,
  { pack, folder, entry }: { pack: NonNullable<ToolManifest['pack']>; folder: string; entry: TarEntry },
  signal: AbortSignal,
): Promise<void> {
  if (entry.header.size !== pack.bytes)
    throw badExport('the size of its repository differs from the size in its manifest');
  const hash = createHash('sha256');
  async function* hashed() {
    for await (const chunk of entry.content) {
      hash.update(chunk);
      yield chunk;
    }
  }
  const args = ['index-pack', '--stdin', '--strict', `--max-input-size=${pack.bytes}`];
  const git = startGit(args, environmentOf(repositories, folder));
  await ended(git, pump(hashed(), git.stdin), signal);
  if (hash.digest('hex') !== pack.sha256)
    throw badExport('the checksum of its repository differs from the checksum in its manifest');
}

/** Waits until git has read and checked the objects. @throws DeployError `BAD_ARCHIVE` if git refuses them. */
async function ended(git: GitProcess, feeding: Promise<void>, signal: AbortSignal): Promise<void> {
  const over = AbortSignal.any([signal, AbortSignal.timeout(GIT_MS)]);
  const kill = () => git.kill();
  over.addEventListener('abort', kill);
  git.stdout.resume();
  try {
    const [status] = await Promise.all([git.status, feeding.catch(damaged)]);
    signal.throwIfAborted();
    if (status !== 0) throw badExport(`git refuses its repository: ${git.stderr().split('\n').at(-1) ?? ''}`);
  } finally {
    over.removeEventListener('abort', kill);
    git.kill();
  }
}

/**
 * Copies the checked objects into the repository of the tool, where temporary refs below `parkedFolder(id)` hold them.
 *
 * @returns the ids of those commits and tags of the manifest whose objects are now in the repository.
 */
export async function copyObjects(
  repositories: Repositories,
  {
    tool,
    folder,
    manifest,
    id,
  }: {
    readonly tool: ToolName;
    readonly folder: string;
    readonly manifest: ToolManifest;
    readonly id: string;
  },
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  if (manifest.pack === null) return new Set();
  await repositories.ensure(tool);
  const options = [
    ...['--quiet', '--no-tags', '--no-write-fetch-head', '--update-shallow', '--no-auto-maintenance'],
    `--upload-pack=${UPLOAD_PACK}`,
  ];
  await repositories.git(tool, ['fetch', ...options, folder, `refs/import/*:${parkedFolder(id)}/*`], {
    settings: [
      ['protocol.version', '2'],
      ['protocol.file.allow', 'always'],
      ['fetch.unpackLimit', '1'],
    ],
    signal: AbortSignal.any([signal, AbortSignal.timeout(GIT_MS)]),
  });
  const ids = [...manifest.releases.map(({ commit }) => commit), ...manifest.tags.map((tag) => tag.id)];
  return await objectsOf({ repositories, folder: repositories.folder(tool), signal }, ids);
}

/** Why the tags of an imported tool could not be made. */
export type MissingTags = 'pushed meanwhile' | 'git failed';

/**
 * Makes the refs of the releases and then the tags, and deletes the temporary refs of `copyObjects`.
 *
 * @returns why no tag could be made: somebody pushed a tag whose name conflicts with an imported tag, or git failed,
 * which is logged. Null if all tags were made.
 */
export async function makeRefs(
  repositories: Repositories,
  {
    tool,
    manifest,
    held,
    id,
    log,
  }: {
    readonly tool: ToolName;
    readonly manifest: ToolManifest;
    readonly held: ReadonlySet<string>;
    readonly id: string;
    readonly log: Log;
  },
): Promise<MissingTags | null> {
  if (manifest.pack === null) return null;
  const went = manifest.releases.filter(({ isFailed, commit }) => !isFailed && held.has(commit));
  await update(went.map(({ version, commit }) => `create refs/releases/v${version} ${commit}`));
  const missing = await update(manifest.tags.map((tag) => `create ${tag.ref} ${tag.id}`)).then(
    () => null,
    whyMissing,
  );
  await update((await refNames(repositories, tool, [parkedFolder(id)])).map((ref) => `delete ${ref}`));
  return missing;

  async function whyMissing(err: unknown): Promise<MissingTags> {
    const there = await refNames(repositories, tool, ['refs/tags']);
    const isTaken = ({ ref }: { readonly ref: string }) =>
      there.some((one) => one === ref || one.startsWith(`${ref}/`) || ref.startsWith(`${one}/`));
    if (manifest.tags.some(isTaken)) return 'pushed meanwhile';
    log.error({ err, tool }, 'cannot store the tags of an imported tool');
    return 'git failed';
  }

  async function update(lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await updateRefs(repositories, tool, lines);
  }
}

/** A repository folder in which git runs with the same limits as for clients. */
interface GitIn {
  readonly repositories: Repositories;
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** Those of the objects `ids` that the repository has. */
async function objectsOf(git: GitIn, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const answers = (await run(git, ['cat-file', '--batch-check'], ids)).split('\n');
  return new Set(ids.filter((_, index) => answers[index]?.endsWith(' missing') === false));
}

async function run(
  { repositories, folder, signal }: GitIn,
  args: readonly string[],
  lines: readonly string[],
): Promise<string> {
  const { stdout } = await execa('git', args, {
    ...{ cwd: folder, env: environmentOf(repositories, folder), extendEnv: false },
    input: lines.map((line) => `${line}\n`).join(''),
    cancelSignal: AbortSignal.any([signal, AbortSignal.timeout(GIT_MS)]),
  });
  return stdout;
}

function environmentOf(repositories: Repositories, folder: string): Record<string, string> {
  return { ...repositories.environment([], { GIT_DIR: folder }), ...repositories.limits };
}
