import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { DeployError, noneIfGone } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import { startGit } from '../../git/git-process.ts';
import { readRefs, refNames } from '../../git/refs/ref-files.ts';
import type { Repositories } from '../../git/repositories.ts';
import type { ListedRelease, Store, ToolRecord } from '../../store/store.ts';
import { assertStrong, sealText } from './passphrase.ts';
import { Sealing } from './sealed-file.ts';
import { FORMAT, MAX_RELEASES, type ToolManifest } from './tool-manifest.ts';

/** The names of the parts of an exported file, which is an archive, in the order in which they follow each other. */
export const PARTS = ['manifest.json', 'secrets.sealed', 'repository.pack'] as const;
const PATH = { PATH: '/usr/bin:/bin' };
const MAX_WORDS = 2000;

export interface ExportOptions {
  readonly store: Store;
  readonly repositories: Repositories;
  /** The folder for temporary files. */
  readonly run: string;
}

/**
 * Writes one tool into one sealed archive, also while somebody pushes. The archive has the releases, commits, tags,
 * settings and config vars of the tool, but no release that is made after the call. The passphrase encrypts the config
 * vars. An import with this passphrase also finds out whether somebody has changed the rest.
 *
 * @throws DeployError `NOTHING_TO_EXPORT` if the tool has no releases and no config vars; `IS_PREVIEW` if it is a
 * preview; `BAD_PASSPHRASE` if the passphrase is too short; `COMMIT_LOST` if git cannot pack the commits; AbortError if
 * the signal fires.
 */
export async function exportTool(
  { store, repositories, run }: ExportOptions,
  { tool, passphrase }: { readonly tool: ToolName; readonly passphrase: string },
  out: (bytes: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  assertStrong(passphrase);
  const stored = storedOf(store, tool);
  const stage = await mkdtemp(join(run, 'export-'));
  try {
    const tags = await tagsOf(repositories, tool);
    const commits = stored.manifest.releases.flatMap((one) => (one.isFailed ? [] : [one.commit]));
    const ids = await present(repositories, tool, [...new Set([...commits, ...tags.map(({ id }) => id)])]);
    const { live } = stored.manifest;
    const needed = [
      ...tags,
      ...stored.manifest.releases.flatMap((one) => (one.version === live ? [{ id: one.commit }] : [])),
    ];
    if (needed.some(({ id }) => !ids.includes(id)))
      throw packFailed(tool, 'the live commit or a tag is missing');
    const [manifestFile, secretsFile, packFile] = PARTS.map((name) => join(stage, name)) as [
      string,
      string,
      string,
    ];
    const pack =
      ids.length === 0 ? null : await writePack(repositories, { tool, ids, file: packFile }, signal);
    const shallow = await shallowOf(repositories, tool);
    const manifest: ToolManifest = { ...stored.manifest, tags, shallow, pack };
    const bytes = Buffer.from(`${JSON.stringify(manifest)}\n`);
    await writeFile(manifestFile, bytes, { mode: 0o600 });
    await writeFile(secretsFile, await sealText(JSON.stringify(stored.secrets), bytes, passphrase), {
      mode: 0o600,
    });
    await writeTar(stage, pack === null ? PARTS.slice(0, 2) : PARTS, out, signal);
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/**
 * What the store knows about the tool now. @throws DeployError `NOTHING_TO_EXPORT` if the tool has no releases and no
 * config vars; `IS_PREVIEW` if it is a preview.
 */
function storedOf(store: Store, tool: ToolName) {
  if (store.previewOf(tool) !== null)
    throw new DeployError(
      'IS_PREVIEW',
      `the tool ${tool} is a preview, and previews are not exported`,
      'Export the tool that the preview belongs to.',
    );
  const record = store.recordOf(tool);
  const configVars = store.configVars(tool);
  const newest = store.releases(tool, MAX_RELEASES).filter(({ state }) => state !== 'created');
  const releases = withLive(store, record, newest).reverse();
  if (record === null || (releases.length === 0 && Object.keys(configVars).length === 0))
    throw new DeployError(
      'NOTHING_TO_EXPORT',
      `the tool ${tool} has no releases and no config vars`,
      'There is nothing to move. Deploy the tool on the other server: git push toolforge main',
    );
  const { liveVersion, isStopped, isInMaintenance } = record;
  const manifest = {
    format: FORMAT,
    tool,
    madeAt: Date.now(),
    live: liveVersion,
    releases: releases.map(
      ({ version, state, commit, description, by, credential, createdAt, deploymentId }) => ({
        ...{ version, isFailed: state === 'failed', commit, createdAt },
        ...{ description: line(description), by: line(by), credential: line(credential) },
        deployment: deploymentOf(store, deploymentId),
      }),
    ),
    replicas: store.replicas(tool),
    sizes: store.sizes(tool),
    paused: [...store.pausedSchedules(tool)],
    limits: store.ownLimits(tool),
    sharedConfig: [...store.sharedConfig(tool)],
    ...{ isStopped, isInMaintenance },
  } satisfies Omit<ToolManifest, 'tags' | 'shallow' | 'pack'>;
  return { manifest, secrets: { configVars } };
}

/** Adds the live release to `newest` if it is older than all of them. Returns at most `MAX_RELEASES` releases. */
function withLive(
  store: Store,
  record: ToolRecord | null,
  newest: readonly ListedRelease[],
): ListedRelease[] {
  const live = record?.liveVersion ?? null;
  if (record === null || live === null || newest.some(({ version }) => version === live)) return [...newest];
  const [release] = store.releases(record.name, 1, live + 1);
  if (release?.version !== live) throw new Error(`There is no release v${live} of ${record.name}.`);
  return [...newest.slice(0, MAX_RELEASES - 1), release];
}

function deploymentOf(store: Store, id: string): ToolManifest['releases'][number]['deployment'] {
  const deployment = store.deployment(id);
  if (deployment === null) throw new Error(`There is no deployment ${id}.`);
  const { kind, door, message, reason, createdAt, startedAt, endedAt } = deployment;
  const optional = (text: string | null) => (text === null ? null : line(text));
  return { kind, door, message: optional(message), reason: optional(reason), createdAt, startedAt, endedAt };
}

function line(text: string): string {
  return oneLine(text)
    .replace(/\p{Cc}/gu, '')
    .slice(0, MAX_WORDS);
}

async function tagsOf(repositories: Repositories, tool: ToolName): Promise<ToolManifest['tags']> {
  if (!repositories.exists(tool)) return [];
  const tags = await readRefs(repositories, tool, await refNames(repositories, tool, ['refs/tags']));
  return [...tags].map(([ref, id]) => ({ ref, id }));
}

/** Returns those of `ids` whose objects the repository still has. */
async function present(
  repositories: Repositories,
  tool: ToolName,
  ids: readonly string[],
): Promise<string[]> {
  if (ids.length === 0 || !repositories.exists(tool)) return [];
  const input = ids.map((id) => `${id}\n`).join('');
  const answers = (await repositories.git(tool, ['cat-file', '--batch-check'], { input })).split('\n');
  return ids.filter((_, index) => answers[index]?.endsWith(' missing') === false);
}

async function shallowOf(repositories: Repositories, tool: ToolName): Promise<ToolManifest['shallow']> {
  const text = await readFile(join(repositories.folder(tool), 'shallow'), 'utf8').catch(noneIfGone);
  return (text ?? '').split('\n').filter((id) => id !== '') as ToolManifest['shallow'];
}

/** Writes a pack with the objects `ids` and all objects that they refer to. */
async function writePack(
  repositories: Repositories,
  { tool, ids, file }: { readonly tool: ToolName; readonly ids: readonly string[]; readonly file: string },
  signal: AbortSignal,
): Promise<NonNullable<ToolManifest['pack']>> {
  const git = startGit(['pack-objects', '--revs', '--stdout', '--delta-base-offset', '-q'], {
    ...repositories.environment([], { GIT_DIR: repositories.folder(tool) }),
    ...repositories.limits,
  });
  const kill = () => git.kill();
  signal.addEventListener('abort', kill);
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    git.stdin.end(ids.map((id) => `${id}\n`).join(''));
    async function* measured(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    }
    await pipeline(git.stdout, measured, createWriteStream(file, { mode: 0o600, flags: 'wx' }), { signal });
    const status = await git.status;
    if (status !== 0) throw packFailed(tool, git.stderr());
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    signal.removeEventListener('abort', kill);
    git.kill();
  }
}

function packFailed(tool: ToolName, complaint: string): DeployError {
  return new DeployError(
    'COMMIT_LOST',
    `the repository of ${tool} cannot be packed, because objects are missing or git has reached its limits`,
    'Run: npx toolforge-push doctor. The log of the server has the error message of git.',
    { cause: new Error(complaint) },
  );
}

async function writeTar(
  stage: string,
  names: readonly string[],
  out: (bytes: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const words = ['--create', '--file=-', '--format=gnu', '--mode=600', '--owner=0', '--group=0', '-C', stage];
  const tar = execa('tar', [...words, ...names], {
    ...{ env: PATH, extendEnv: false, stdin: 'ignore', buffer: { stdout: false }, reject: false },
  });
  const sealing = new Sealing('tool', async () => {
    const { exitCode, stderr } = await tar;
    if (exitCode !== 0) throw new Error(`tar failed: ${stderr}`);
  });
  try {
    await pipeline(
      tar.stdout,
      sealing,
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) await out(chunk);
      },
      { signal },
    );
  } finally {
    tar.kill();
    await tar;
  }
}
