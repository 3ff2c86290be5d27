import { mkdir } from 'node:fs/promises';
import type { CleanUpHold } from '../../core/concurrency/clean-up-hold.ts';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import type { CommitId, ToolName } from '../../core/names.ts';
import type { Principal } from '../../core/types.ts';
import { pushPack } from '../../git/archive/push-pack.ts';
import type { PackServices } from '../../git/pack-services.ts';
import { zeroId } from '../../git/push/command-list.ts';
import { exportTool } from './export-tool.ts';
import { type ImportedTool, type ImportOptions, type ImportRequest, importTool } from './import-tool.ts';

export interface ToolTransfersOptions extends ImportOptions {
  readonly packServices: Pick<PackServices, 'receive'>;
  readonly cleanUp: Pick<CleanUpHold, 'hold'>;
  readonly log: Log;
}

/** Exports a tool to a file on one server. On another server, imports the file and deploys the tool. */
export class ToolTransfers {
  readonly #options: ToolTransfersOptions;
  #prepared: Promise<void> | null = null;

  constructor(options: ToolTransfersOptions) {
    this.#options = options;
  }

  /** Calls `exportTool`. Until it ends, the server deletes and merges no files. */
  async export(
    request: { readonly tool: ToolName; readonly passphrase: string },
    out: (bytes: Uint8Array) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const letGo = await this.#options.cleanUp.hold();
    try {
      await this.#ready;
      await this.#options.room.assertRoom();
      await exportTool(this.#options, request, out, signal);
    } catch (error) {
      if (error instanceof DeployError && error.code === 'COMMIT_LOST')
        this.#options.log.error({ tool: request.tool, err: error }, 'cannot export a tool');
      throw error;
    } finally {
      letGo();
    }
  }

  /** Calls `importTool`, whose docstring says what is checked and thrown. */
  async import(request: ImportRequest, signal: AbortSignal): Promise<ImportedTool> {
    await this.#ready;
    return await importTool(this.#options, request, signal);
  }

  /**
   * Deploys the commit that was live on the other server, as the next release. The commit is pushed to the deploy
   * branch, so it passes every check of a push.
   *
   * @param say - Gets the output of the push. Must not reject.
   * @returns null if the commit is live; otherwise the reason, in one line.
   * @throws the errors of `PackServices.receive`.
   */
  async deploy(
    {
      tool,
      commit,
      principal,
    }: { readonly tool: ToolName; readonly commit: CommitId; readonly principal: Principal },
    say: (bytes: Uint8Array) => Promise<void>,
  ): Promise<string | null> {
    const { packServices, repositories, log } = this.#options;
    const session = await packServices.receive({ tool, principal, hasAdvertisement: false });
    try {
      if (session.whyClosed !== null) return session.whyClosed;
      const command = { oldId: zeroId, newId: commit, ref: `refs/heads/${repositories.deployBranch}` };
      const options = ['no-color', 'message=Import from another server'];
      return await pushPack(session, { command, options, pack: null }, { say, log, onSent: async () => {} });
    } finally {
      session.close();
    }
  }

  async #prepare(): Promise<void> {
    await mkdir(this.#options.run, { recursive: true, mode: 0o700 });
  }

  /** Resolves when the folder for temporary files exists. */
  get #ready(): Promise<void> {
    this.#prepared ??= this.#prepare().catch((error: unknown) => {
      this.#prepared = null;
      throw error;
    });
    return this.#prepared;
  }
}
