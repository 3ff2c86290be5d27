import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Config } from '../config.ts';
import type { CleanUpHold } from '../core/concurrency/clean-up-hold.ts';
import { ConcurrencyLimit } from '../core/concurrency/concurrency-limit.ts';
import type { DiskRoom } from '../core/disk/disk-space.ts';
import { DeployError } from '../core/errors.ts';
import type { Log } from '../core/log/log.ts';
import type { ToolName } from '../core/names.ts';
import { refNames } from '../git/refs/ref-files.ts';
import type { Repositories } from '../git/repositories.ts';
import { addNotes, type RenameNote } from '../store/renames/rename-notes.ts';
import type { Store } from '../store/store.ts';
import {
  beginRenaming,
  clearFolders,
  endRenaming,
  isRenaming,
  moveFolders,
  type Renaming,
  renameInDirectory,
} from './renaming.ts';

/** How long `rename` waits at its end for the tool to start. */
const START_MS = 30_000;

export interface ToolRenamesOptions {
  readonly config: Pick<Config, 'data' | 'directory' | 'runtime' | 'config_vars_folder' | 'replica_folder'>;
  readonly store: Store;
  readonly repositories: Repositories;
  /** Keeps a renaming from running while a backup or an export is made. */
  readonly cleanUp: Pick<CleanUpHold, 'unlessHeld'>;
  /** Ends everything of a tool, so that nothing writes to its files any more: `Runtime.letGo`. */
  readonly letGo: (tool: ToolName) => Promise<void>;
  /** Reads the operator's config vars for a tool. @throws DeployError `OUTSIDE_CONFIG` if the file cannot be used. */
  readonly readOutside: (tool: ToolName) => Promise<unknown>;
  /**
   * Starts the live release of a tool, and its maintenance mode if it is on. Tries again until it starts. Must not
   * reject.
   */
  readonly resume: (tool: ToolName) => Promise<void>;
  /** True while a deployment or a push of the tool is under way. */
  readonly isBusy: (tool: ToolName) => boolean;
  /** Makes the user directory refuse tools of these names until the returned function is called. */
  readonly hold: (names: readonly ToolName[]) => () => void;
  /** Forgets what the server remembers of a tool's repository: its size, and whether its refs may be damaged. */
  readonly forgetName: (tool: ToolName) => void;
  /** True if the user directory has the tool. @throws DeployError if the directory does not answer. */
  readonly isKnown: (tool: ToolName) => Promise<boolean>;
  readonly room: Pick<DiskRoom, 'assertRoom'>;
  readonly log: Log;
}

/**
 * Renames tools. First the processes of the tool end. Then its rows in the store, its folders and its entry in the user
 * directory get the new name, and the tool starts again. If the server is killed before the transaction of the store,
 * nothing has changed. If it is killed later, the next start finishes the renaming.
 */
export class ToolRenames {
  readonly #options: ToolRenamesOptions;
  /** One renaming runs at a time, because there is one `renaming.json`. */
  readonly #turn = new ConcurrencyLimit(1);

  constructor(options: ToolRenamesOptions) {
    this.#options = options;
  }

  /**
   * Gives a tool another name.
   *
   * @throws DeployError `SAME_NAME` if both names are equal; `TOOL_IN_USE` if there is a tool `to`; `NO_TOOL` if LDAP
   * lacks `to`; `TOOL_BUSY` if a deployment or push of `from` or `to` is under way; `HAS_PREVIEWS` if `from` has
   * previews; `IS_PREVIEW` if `from` is a preview; `BACKUP_RUNNING` while a backup or an export is made;
   * `RENAME_UNFINISHED` if an earlier renaming was interrupted; `OUTSIDE_CONFIG` if a file of the operator has only the
   * old name, or cannot be used; `DISK_NEARLY_FULL` if the disk is nearly full; `NO_RENAME` in a cluster.
   */
  async rename(renaming: Renaming): Promise<void> {
    let isDone = false;
    await this.#turn.run(() =>
      this.#options.cleanUp.unlessHeld(async () => {
        await this.#rename(renaming);
        isDone = true;
      }),
    );
    if (isDone) return;
    throw new DeployError(
      'BACKUP_RUNNING',
      'nothing can be renamed now, because a backup or an export is being made',
      'Type the command again when the backup or export has ended.',
    );
  }

  async #rename(renaming: Renaming): Promise<void> {
    const { config, store, letGo, resume, hold, forgetName, log } = this.#options;
    const { from, to } = renaming;
    // Refuse the renaming if the disk is nearly full, because the tool could not start again under its new name.
    await this.#options.room.assertRoom();
    await this.#assertDirectory(renaming);
    this.#assertFree(renaming, await this.#refsOf(to));
    const endHold = hold([from, to]);
    let isRenamed = false;
    try {
      await letGo(from);
      const refs = await this.#refsOf(to);
      // No other code of this server runs from here until the folders have moved, because nothing here awaits.
      this.#assertFree(renaming, refs);
      clearFolders(config.data, to);
      beginRenaming(config.data, renaming);
      let note: RenameNote;
      try {
        note = store.renameTool(from, to, Date.now());
      } catch (error) {
        endRenaming(config.data);
        throw error;
      }
      isRenamed = true;
      addNotes(config.data, [note]);
      moveFolders(config.data, renaming);
      forgetName(from);
      forgetName(to);
      await store.copyReleases(to);
      await renameInDirectory(config, renaming);
      await this.#clear(from);
      endRenaming(config.data);
      log.warn({ from, to }, 'tool renamed');
    } finally {
      endHold();
      // If the renaming failed after the store had changed, directory.yaml may still have the old name. Nobody may use
      // the old name until a start of the server has finished the renaming.
      if (isRenamed && isRenaming(config.data)) hold([from]);
      // Wait at most `START_MS` for the start of the tool, so that the next renaming can begin. If the tool cannot
      // start, the server tries again, and `ps` says why.
      await Promise.race([resume(isRenamed ? to : from), wait(START_MS, null, { ref: false })]);
    }
  }

  /**
   * Ends everything that a command such as `run` started under the old name while the tool was renamed. Deletes the
   * files that are left under the old name, so that nobody who gets this name later can read them.
   */
  async #clear(from: ToolName): Promise<void> {
    await this.#options.letGo(from);
    if (!this.#options.isBusy(from)) clearFolders(this.#options.config.data, from);
  }

  async #refsOf(tool: ToolName): Promise<string[]> {
    const { repositories } = this.#options;
    return repositories.exists(tool) ? await refNames(repositories, tool, ['refs']) : [];
  }

  async #assertDirectory({ from, to }: Renaming): Promise<void> {
    const { config, isKnown } = this.#options;
    if (config.runtime === 'kubernetes')
      throw new DeployError(
        'NO_RENAME',
        'a server that runs tools in a cluster cannot rename them, because a namespace keeps its name for ever',
        `Nothing has changed. Move the tool to its new name: npx toolforge-push tool export ${from} FILE, and then tool import FILE --as ${to}`,
      );
    if (isRenaming(config.data))
      throw new DeployError(
        'RENAME_UNFINISHED',
        'an earlier renaming could not be finished; the log of the server says why',
        'Nothing has changed. Start the server again: the start finishes the earlier renaming. Then type the command again.',
      );
    assertFollowed(config, { from, to });
    await this.#options.readOutside(to);
    if (from === to)
      throw new DeployError('SAME_NAME', `the tool is called ${from} already`, 'Nothing has changed.');
    const isThere = await isKnown(to);
    if (config.directory === 'file' && isThere)
      throw new DeployError(
        'TOOL_IN_USE',
        `there is a tool ${to} in directory.yaml already`,
        `Nothing has changed. Choose another name. If ${to} was only added for this: npx toolforge-push tool remove ${to}`,
      );
    if (config.directory !== 'file' && !isThere)
      throw new DeployError(
        'NO_TOOL',
        `there is no tool ${to} in LDAP`,
        `Nothing has changed. Add ${to} with its maintainers in LDAP, and type the command again.`,
      );
  }

  #assertFree({ from, to }: Renaming, refs: readonly string[]): void {
    const { store, isBusy } = this.#options;
    if (store.previewOf(from) !== null)
      throw new DeployError(
        'IS_PREVIEW',
        `the tool ${from} is a preview`,
        'Rename the tool that the preview belongs to.',
      );
    if (store.previews(from).length > 0)
      throw new DeployError(
        'HAS_PREVIEWS',
        `the tool ${from} has previews, whose names contain the name of the tool`,
        `Nothing has changed. End the previews first: \`previews ${from}\` lists them.`,
      );
    if (isBusy(from) || isBusy(to))
      throw new DeployError(
        'TOOL_BUSY',
        `a deployment or a push of the tool ${isBusy(from) ? from : to} is under way`,
        `Nothing has changed. Type the command again when the deployment or push has ended: \`ps ${from}\``,
      );
    const hasAnything =
      store.previewOf(to) !== null ||
      store.releases(to, 1).length > 0 ||
      store.deployments(to, 1).length > 0 ||
      Object.keys(store.configVars(to)).length > 0 ||
      store.tokens(to).length > 0 ||
      refs.length > 0;
    if (!hasAnything) return;
    throw new DeployError(
      'TOOL_IN_USE',
      `there is a tool ${to} already, with releases, config vars, deploy tokens or tags`,
      'Nothing has changed. Choose another name.',
    );
  }
}

/**
 * Checks that each file that the operator's folders have for the old name exists for the new name too. The tool starts
 * under its new name right after the renaming, and would start without these files.
 *
 * @throws DeployError `OUTSIDE_CONFIG` if such a file is missing.
 */
function assertFollowed(
  { config_vars_folder, replica_folder }: ToolRenamesOptions['config'],
  { from, to }: Renaming,
): void {
  const pairs = [
    [config_vars_folder, `${from}.env`, `${to}.env`],
    [replica_folder, join(from, 'replica.my.cnf'), join(to, 'replica.my.cnf')],
  ] as const;
  for (const [folder, old, next] of pairs) {
    if (folder === null || !existsSync(join(folder, old)) || existsSync(join(folder, next))) continue;
    throw new DeployError(
      'OUTSIDE_CONFIG',
      `the folder ${folder} has ${old}, but no ${next}, so the tool would start without it`,
      `Nothing has changed. Copy ${old} to ${next}, with the same owner and mode, and type the command again.`,
    );
  }
}
