import { addAbortListener } from 'node:events';
import { ExecaError } from 'execa';
import { DeployError } from '../../core/errors.ts';
import { tokenKey } from '../../core/fair-share/person-limit.ts';
import { Shares } from '../../core/fair-share/shares.ts';
import type { Log } from '../../core/log/log.ts';
import { type CommitId, short, type ToolName } from '../../core/names.ts';
import { progressTo } from '../../core/progress.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import type { Principal } from '../../core/types.ts';
import type { TreeLimits } from '../commits.ts';
import { startGit } from '../git-process.ts';
import type { PackServices } from '../pack-services.ts';
import { zeroId } from '../push/command-list.ts';
import { readDeployBranch } from '../refs/deploy-branch.ts';
import type { Repositories } from '../repositories.ts';
import { sourceEntries } from './archive-entries.ts';
import { commitEntries } from './commit-entries.ts';
import { pushPack } from './push-pack.ts';
import { timely } from './timely.ts';

/** A tar of the files of a tool, and how it is deployed. */
export interface SentArchive {
  readonly tool: ToolName;
  readonly principal: Principal;
  /** The tar: plain, or compressed by gzip or zstd. */
  readonly bytes: AsyncIterable<Uint8Array>;
  /** The live commit, which becomes the parent of the new commit if the repository has it. Null if nothing is live. */
  readonly live: CommitId | null;
  /** The name of this server in the address of the author: `alice@HOST`. */
  readonly host: string;
  /** The message of the commit. */
  readonly message: string;
  /** Push options, as `git push -o` would send them. */
  readonly options: readonly string[];
  /** Called with each piece of the output that the person who deploys sees. Must not reject. */
  readonly say: (bytes: Uint8Array) => Promise<void>;
  /** Fires when the client leaves. A deployment that is under way continues. */
  readonly signal: AbortSignal;
}

/**
 * The result of `SourceArchives.deploy`. `unchanged`: the files are those of the live commit, so nothing is deployed.
 * `reason` is one line.
 */
export type ArchiveOutcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * How many archives are received at the same time. Each takes disk space and a process of git. One person alone gets 4
 * places, because a person gets another place only while they hold fewer than a quarter of the number of free places.
 */
const MAX_ARCHIVES = 20;
const WEIGHT_OF_PERSON = 0.25;
/** With this weight, one deploy token gets 2 of the `MAX_ARCHIVES` places. */
const WEIGHT_OF_TOKEN = 0.1;

export interface SourceArchivesOptions {
  readonly repositories: Repositories;
  readonly packServices: PackServices;
  readonly treeLimits: TreeLimits;
  readonly maxPackBytes: number;
  readonly room: { readonly assertRoom: () => Promise<void> };
  readonly log: Log;
}

/** For people without git: deploys the files of a tool from a tar, and sends them as a tar. */
export class SourceArchives {
  readonly #options: SourceArchivesOptions;
  readonly #places = new Shares(MAX_ARCHIVES);

  constructor(options: SourceArchivesOptions) {
    this.#options = options;
  }

  /**
   * Commits the files of a tar on top of the live commit, and pushes the commit to the deploy branch. The push is like
   * one of a git client: the same checks, limits, queue and records. Callers must have authorised the principal.
   *
   * @throws DeployError `TOO_MANY_ARCHIVES` if no place is free; `ARCHIVE_STALLED` if the client sends nothing or too
   * slowly; `TREE_TOO_LARGE` if the files exceed a limit; the errors of `PackServices.receive`,
   * `sourceEntries` and `commitEntries`; the signal's reason if it fires before the archive is complete.
   */
  async deploy(sent: SentArchive): Promise<ArchiveOutcome> {
    const { repositories, packServices, treeLimits, log } = this.#options;
    const { tool, principal, signal, say } = sent;
    using place = this.#takePlace(principal);
    // Open the push first, because nothing cleans up the repository while a push is open. For a new tool, this creates
    // the repository.
    const session = await packServices.receive({ tool, principal, hasAdvertisement: false, isArchive: true });
    try {
      if (session.whyClosed !== null) return { kind: 'refused', reason: session.whyClosed };
      const branch = await readDeployBranch(repositories, tool);
      const base = sent.live ?? branch.commit;
      const liveTree = base === null ? null : await this.#treeOf(tool, base);
      // Give the new commit no parent if there is no commit to build upon, or if the repository has lost this commit.
      // The server then accepts any commit.
      const parent = liveTree === null ? null : base;
      const { uid } = principal;
      const words = { name: uid, email: `${uid}@${sent.host}`, message: sent.message };
      const entries = sourceEntries(timely(sent.bytes, signal), treeLimits, tool);
      const mayGrow = (packBytes: number) => this.#assertMayGrow(packBytes);
      await using made = await commitEntries(repositories, { tool, parent, words }, entries, mayGrow, signal);
      place[Symbol.dispose]();
      if (made.tree === liveTree && sent.live !== null) return { kind: 'unchanged' };
      const progress = progressTo((text) => void say(Buffer.from(text)));
      progress.step(`Received ${made.files} files; they are the commit ${short(made.commit)}`);
      const command = { oldId: base ?? zeroId, newId: made.commit, ref: branch.ref };
      const reason = await pushPack(
        session,
        { command, options: sent.options, pack: made.pack },
        // Delete the pack as soon as git has it, because the deployment may wait for long and does not need the pack.
        { say, log, onSent: async () => await made[Symbol.asyncDispose]() },
      );
      return reason === null ? { kind: 'accepted' } : { kind: 'refused', reason };
    } finally {
      session.close();
    }
  }

  /**
   * Writes the files of a commit to `out` as a tar. Callers must have authorised the principal.
   *
   * @throws DeployError `COMMIT_LOST` if the repository lacks the commit; the errors of `PackServices.upload`; the
   * signal's reason.
   */
  async download(
    wanted: { readonly tool: ToolName; readonly commit: CommitId; readonly principal: Principal },
    out: (bytes: Uint8Array) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const { tool, commit, principal } = wanted;
    const session = await this.#options.packServices.upload(tool, null, principal);
    try {
      if ((await this.#treeOf(tool, commit)) === null)
        throw new DeployError(
          'COMMIT_LOST',
          `the repository of ${tool} no longer has the commit ${short(commit)}`,
          'Download another release, or push from a clone that has the commit.',
        );
      const git = startGit(['archive', '--format=tar', commit], {
        ...session.environment,
        GIT_DIR: session.folder,
      });
      using _killing = addAbortListener(signal, () => git.kill());
      for await (const chunk of git.stdout as AsyncIterable<Buffer>) await out(chunk);
      const status = await git.status;
      signal.throwIfAborted();
      if (status !== 0) throw new Error(`git archive ended with ${status}: ${git.stderr()}`);
    } finally {
      session.close();
    }
  }

  /** The id of the tree of a commit. Null if the repository lacks the commit. */
  async #treeOf(tool: ToolName, commit: CommitId): Promise<string | null> {
    try {
      return await this.#options.repositories.git(tool, [
        'rev-parse',
        '--verify',
        '--quiet',
        `${commit}^{tree}`,
      ]);
    } catch (error) {
      if (error instanceof ExecaError && (error.exitCode === 1 || error.exitCode === 128)) return null;
      throw error;
    }
  }

  /**
   * Checks that a pack may become larger. @throws DeployError `DISK_NEARLY_FULL` if the disk has too little space;
   * `TREE_TOO_LARGE` if the pack exceeds `pack_size`.
   */
  async #assertMayGrow(packBytes: number): Promise<void> {
    const { room, maxPackBytes } = this.#options;
    await room.assertRoom();
    if (packBytes > maxPackBytes)
      throw new DeployError(
        'TREE_TOO_LARGE',
        `the files of the archive are larger than ${mebibytes(maxPackBytes)}, the limit for one push (pack_size)`,
        'Leave out the files that the tool does not need when it runs. Nothing was deployed.',
      );
  }

  /** Takes one of the `MAX_ARCHIVES` places. @throws DeployError `TOO_MANY_ARCHIVES` if the person gets none. */
  #takePlace(principal: Principal): Disposable {
    const { uid, credential } = principal;
    const token = tokenKey(principal);
    const taken = this.#places.take({
      [uid]: WEIGHT_OF_PERSON,
      ...(token === null ? {} : { [token]: WEIGHT_OF_TOKEN }),
    });
    if (taken.kind === 'taken') return { [Symbol.dispose]: taken.giveBack };
    throw new DeployError(
      'TOO_MANY_ARCHIVES',
      `${taken.holder === null ? 'this server receives' : `the ${taken.holder === uid ? `user ${uid}` : credential} sends`} too many archives just now`,
      'Wait until the server has received some of them, and try again.',
    );
  }
}
