import { randomBytes } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { newId, type ToolName } from '../../core/names.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import { limitsOf, lowerLimits, type ToolLimits } from '../../core/tool-limits.ts';
import { timely } from '../../git/archive/timely.ts';
import { refNames } from '../../git/refs/ref-files.ts';
import type { Repositories } from '../../git/repositories.ts';
import type { Store } from '../../store/store.ts';
import { copyObjects, type MissingTags, makeRefs, takePack } from './import-objects.ts';
import { noteTags } from './imported-tags.ts';
import { badExport, MAX_OTHER_BYTES, openExport } from './read-export.ts';
import type { ToolManifest } from './tool-manifest.ts';

/** Each time that the server has received this many bytes of a file, it checks the free space of its disk. */
const LOOK_BYTES = 16 * 2 ** 20;
const SEND_AGAIN =
  'Nothing has changed. Import the file again, over a faster connection if it took too long: npx toolforge-push tool import FILE';
/**
 * The server receives exported files of up to this size even if the setting `repository_size` is less, because the tool
 * may have a higher limit.
 */
const MIN_REPOSITORY_BYTES = 8 * 2 ** 30;

export interface ImportOptions {
  readonly store: Store;
  readonly repositories: Repositories;
  /** The limits of tools without limits of their own. */
  readonly limits: ToolLimits;
  readonly room: { readonly assertRoom: () => Promise<void> };
  readonly log: Log;
  /** The folder for temporary files. */
  readonly run: string;
}

export interface ImportRequest {
  /** The content of the exported file. */
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly passphrase: string;
  /** The name that the tool gets on this server. Null for its name in the file. */
  readonly as: ToolName | null;
  /** Checks that the user directory of this server has the tool. @throws DeployError if not. */
  readonly assertKnown: (tool: ToolName) => Promise<void>;
  /** The user name of the person who imports the tool. */
  readonly by: string;
}

/** A tool whose history has been imported. It has no live release yet. */
export interface ImportedTool {
  readonly tool: ToolName;
  readonly manifest: ToolManifest;
  /** How many config vars the tool got. */
  readonly configVars: number;
  /** Why no tag could be stored. Null if all tags were stored. */
  readonly missingTags: MissingTags | null;
}

/**
 * Imports a tool from the file that another server exported. The tool must be in the user directory of this server, but
 * must not have been used here. Checks this and the whole file before it changes the store.
 *
 * If the file gives a tool a higher limit than this server allows, the limit of this server counts. So the person who
 * made the file cannot get more for the tool than this server gives.
 *
 * The releases come without artifacts, so nothing is live afterwards, and the tool has no deploy branch. A push of the
 * live commit must follow.
 *
 * @throws DeployError `BAD_ARCHIVE` if the file is damaged, foreign or too new; `BAD_PASSPHRASE` if the passphrase is
 * wrong or the file was changed; `TOOL_IN_USE` if the tool is a preview, or has been used on this server; `TOOL_FROZEN`
 * if an operator has frozen it; `REPOSITORY_FULL` if the objects exceed the limit of the tool; `DISK_NEARLY_FULL` if
 * the disk of the server is; `ARCHIVE_STALLED` if the client sends too slowly; the errors of `assertKnown`; an error if
 * the signal fires.
 */
export async function importTool(
  options: ImportOptions,
  { bytes, passphrase, as, assertKnown, by }: ImportRequest,
  signal: AbortSignal,
): Promise<ImportedTool> {
  const { store, repositories, log } = options;
  await options.room.assertRoom();
  const stage = await mkdtemp(join(options.run, 'import-'));
  try {
    const file = join(stage, 'archive');
    await receive(timely(bytes, signal, { hint: SEND_AGAIN }), file, options);
    const { manifest, configVars, entries } = await openExport(file, passphrase);
    const tool = as ?? manifest.tool;
    await assertKnown(tool);
    assertRoomFor(options, tool, manifest);
    assertUnused(store, tool, await refsOf(repositories, tool));
    const folder = join(stage, 'objects.git');
    await takePack(repositories, { entries, manifest, folder }, signal);
    const id = newId(new Date(), randomBytes(10));
    const held = await copyObjects(repositories, { tool, folder, manifest, id }, signal);
    await noteTags(stage, { tool, tags: manifest.tags });
    const refs = await refsOf(repositories, tool);
    signal.throwIfAborted();
    // Nothing here awaits, so no other code of the server runs between this check and the change of the store, which
    // cannot be undone.
    assertUnused(store, tool, refs);
    store.enterTool(tool, {
      ...{ releases: manifest.releases, configVars, replicas: manifest.replicas, sizes: manifest.sizes },
      ...{
        paused: manifest.paused,
        limits: lowerLimits(options.limits, manifest.limits),
        sharedConfig: manifest.sharedConfig,
      },
      ...{ by, at: Date.now() },
    });
    const missingTags = await makeRefs(repositories, { tool, manifest, held, id, log });
    return { tool, manifest, configVars: Object.keys(configVars).length, missingTags };
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/**
 * Writes `sent` to `file`. @throws DeployError `BAD_ARCHIVE` if the file is too large; `DISK_NEARLY_FULL` if the disk
 * of the server is nearly full.
 */
async function receive(
  sent: AsyncIterable<Uint8Array>,
  file: string,
  { limits, room }: ImportOptions,
): Promise<void> {
  const most = Math.max(limits.repository, MIN_REPOSITORY_BYTES) + MAX_OTHER_BYTES;
  await using target = await open(file, 'wx', 0o600);
  let [bytes, sinceLook] = [0, 0];
  for await (const chunk of sent) {
    bytes += chunk.length;
    sinceLook += chunk.length;
    if (bytes > most) throw badExport(`it has more than ${mebibytes(most)}`);
    if (sinceLook > LOOK_BYTES) {
      sinceLook = 0;
      await room.assertRoom();
    }
    await target.writeFile(chunk);
  }
}

/**
 * Checks the size of the imported objects. @throws DeployError `REPOSITORY_FULL` if it exceeds the limit of the tool.
 */
function assertRoomFor(
  { store, limits }: ImportOptions,
  tool: ToolName,
  { pack, limits: ofFile }: ToolManifest,
): void {
  const own = { ...lowerLimits(limits, ofFile), ...store.ownLimits(tool) };
  const limit = limitsOf(limits, own).repository;
  if (pack === null || pack.bytes <= limit) return;
  throw new DeployError(
    'REPOSITORY_FULL',
    `the repository in the file has ${mebibytes(pack.bytes)}, more than the limit of ${mebibytes(limit)} (repository_size)`,
    `Nothing has changed. Raise the limit for this tool: \`limit ${tool} repository=${Math.ceil(pack.bytes / 2 ** 20) + 64}Mi\``,
  );
}

async function refsOf(repositories: Repositories, tool: ToolName): Promise<string[]> {
  if (!repositories.exists(tool)) return [];
  return await refNames(repositories, tool, ['refs/heads', 'refs/tags', 'refs/releases']);
}

/**
 * Checks that this server has nothing of the tool.
 *
 * @throws DeployError `TOOL_IN_USE` if the tool has deployments, config vars, previews or refs here; `TOOL_FROZEN` if
 * an operator has frozen it.
 */
function assertUnused(store: Store, tool: ToolName, refs: readonly string[]): void {
  const hasRun = store.deployments(tool, 1).length > 0 || store.releases(tool, 1).length > 0;
  const [reason] = [
    ...(store.previewOf(tool) === null ? [] : ['is a preview']),
    ...(hasRun ? ['has deployments'] : []),
    ...(Object.keys(store.configVars(tool)).length > 0 ? ['has config vars'] : []),
    ...(store.previews(tool).length > 0 ? ['has previews'] : []),
    ...(refs.length > 0 ? ['has tags or branches'] : []),
  ];
  if (reason !== undefined)
    throw new DeployError(
      'TOOL_IN_USE',
      `the tool ${tool} ${reason} on this server already`,
      'Nothing has changed. To import the tool under another name, add --as NAME.',
    );
  const freeze = store.freezeOf(tool);
  if (freeze === null) return;
  throw new DeployError(
    'TOOL_FROZEN',
    `${freeze.isOfAll ? 'all tools are' : `the tool ${tool} is`} frozen: ${freeze.reason}`,
    'Nothing has changed. Import the tool when the freeze has ended.',
  );
}
