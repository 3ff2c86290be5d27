import { randomBytes } from 'node:crypto';
import { readFile, realpath, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { DiskRoom } from '../core/disk/disk-space.ts';
import { noneIfGone } from '../core/errors.ts';
import { PersonLimit } from '../core/fair-share/person-limit.ts';
import { gitPriorities } from '../core/fair-share/priorities.ts';
import type { Audit } from '../core/log/audit.ts';
import type { Log } from '../core/log/log.ts';
import { newId, type ToolName } from '../core/names.ts';
import type { Principal } from '../core/types.ts';
import type { ParkedPush, Ticket } from '../deploy/deployments.ts';
import { FetchPlaces } from './fetch-places.ts';
import { type GitSettings, hiddenRefs, LIMITED_GIT, LOW_PRIORITY } from './git-environment.ts';
import type { FetchSession, PackServices, PushSession, ReceiveRequest } from './pack-services.ts';
import { parkedFolder, parkedRef, type Trial, TruthfulPush } from './push/truthful-push.ts';
import { readDeployBranch } from './refs/deploy-branch.ts';
import { deleteRefs } from './refs/ref-transaction.ts';
import { findTorn } from './refs/torn-refs.ts';
import type { Repositories } from './repositories.ts';
import { sweepRepository } from './repository-clean-up.ts';
import { RepositoryRoom } from './repository-room.ts';

/**
 * How many packs of one person, and of one deploy token, git receives and checks at the same time. A small pack can
 * make git use 320 MiB of memory.
 */
const MAX_UNPACKING = { ofPerson: 4, ofToken: 2 };

/** How many tags a tool may have. Each push reads the names of all refs, which blocks this process. */
const MAX_TAGS = 10_000;
/**
 * A tool may have this many tags of atomic pushes that wait for deployments. At this number, further atomic pushes with
 * tags are refused. Otherwise, a person could add any number of tags by pushing a commit again and again while its
 * deployment runs.
 */
const MAX_PARKED = 2000;
/**
 * At this number of packs, git merges the packs of a repository when no push is running. Each push that brings objects
 * makes a pack, and each git process opens all packs.
 */
const MANY_PACKS = 100;
/**
 * The maximum number of commits at which shallow histories end: this number in one push, and `MAX_SHALLOW` in a tool's
 * whole repository. Each push and each clone reads the whole list of these commits.
 */
const MAX_SHALLOW_OF_PUSH = 1000;
const MAX_SHALLOW = 10_000;

export interface GitPackServicesOptions {
  readonly repositories: Repositories;
  /** The folder with the hooks pre-receive and post-receive. */
  readonly hooksFolder: string;
  /** The path of the local socket that the hooks connect to. */
  readonly socketPath: string;
  readonly maxPackBytes: number;
  readonly maxRefs: number;
  readonly maxRepositoryBytes: (tool: ToolName) => number;
  /** The free space of the disk that holds the repositories. */
  readonly room: DiskRoom;
  /** Repairs a repository whose refs or settings files were damaged while the server runs. */
  readonly repair: (tool: ToolName) => Promise<void>;
  /**
   * Lets git merge the packs of a repository. Called while no push is using the repository, and no packs of another
   * repository are being merged.
   */
  readonly mergePacks: (tool: ToolName) => Promise<void>;
  /** Why a push to `preview/NAME` of the tool must not make a preview, in one line. Null if it may make one. */
  readonly previewRefusal: (tool: ToolName, name: string) => string | null;
  /**
   * Ends a preview of `tool`, because a push deletes its branch. @throws DeployError if the preview may not or cannot
   * be ended.
   */
  readonly endPreview: (preview: {
    readonly tool: ToolName;
    readonly branchRef: string;
    readonly hadBranch: boolean;
    readonly principal: Principal;
  }) => Promise<void>;
  readonly submit: (push: ParkedPush) => Promise<Ticket>;
  /**
   * Tells `trial.progress` what the push would do. `repositories` has the objects of the push.
   *
   * @throws DeployError if the push would be refused or would fail before its build.
   */
  readonly tryOut: (push: ParkedPush, trial: Trial, repositories: Repositories) => Promise<void>;
  readonly follow: (id: string, isColoured: boolean, signal: AbortSignal) => AsyncIterable<string>;
  readonly whatIsLive: (tool: ToolName) => string;
  /** Checks that the tool still has this name. @throws DeployError `TOOL_RENAMED` if it has another name now. */
  readonly assertNamed: (tool: ToolName) => void;
  /**
   * Checks again and again whether the person may still push or read, until the returned object is disposed. If the
   * right is gone, its signal `lost` fires with a DeployError.
   */
  readonly watchRight: (wish: {
    readonly principal: Principal;
    readonly tool: ToolName;
    readonly action: 'deploy' | 'read';
  }) => Disposable & { readonly lost: AbortSignal };
  /**
   * Why the tool accepts no push, in one line: an operator has frozen it, or it is a preview. Null if it accepts
   * pushes.
   */
  readonly frozen: (tool: ToolName) => string | null;
  readonly hints: (
    tool: ToolName,
    uid: string,
  ) => { readonly redeploy: string; readonly follow: (id: string) => string };
  readonly audit: Audit;
  readonly log: Log;
}

/** Serves git pushes and fetches to the SSH and HTTP servers, and keeps a list of the running pushes. */
export class GitPackServices implements PackServices {
  readonly #options: GitPackServicesOptions;
  readonly #pushes = new Map<string, TruthfulPush>();
  readonly #room: RepositoryRoom;
  readonly #fetches = new FetchPlaces();
  readonly #unpacking = new PersonLimit(MAX_UNPACKING);

  /** The tools whose packs are being merged, or will be as soon as no push is running. */
  readonly #merging = new Set<ToolName>();

  /**
   * The tools for which git refused a push, perhaps because of a damaged ref. The next push or clone checks all their
   * refs.
   */
  readonly #suspects = new Set<ToolName>();

  constructor(options: GitPackServicesOptions) {
    this.#options = options;
    this.#room = new RepositoryRoom(options);
  }

  async receive(request: ReceiveRequest): Promise<PushSession> {
    const { tool, principal } = request;
    const folder = await this.#ensure(tool);
    await this.#options.repositories.turns.enter(tool, principal.uid);
    try {
      // Check the name again, because the tool may have been renamed before `enter` returned. Now that the push has a
      // place, a rename is refused.
      this.#options.assertNamed(tool);
      const push = await this.#open(request, folder);
      this.#pushes.set(push.id, push);
      return push;
    } catch (error) {
      this.#left(request);
      throw error;
    }
  }

  async #open(request: ReceiveRequest, folder: string): Promise<TruthfulPush> {
    const { tool, principal, hasAdvertisement, isArchive = false } = request;
    const { repositories, maxPackBytes, maxRefs, submit, follow, whatIsLive, hints, audit, log } =
      this.#options;
    const [branch, shallow, size] = await Promise.all([
      readDeployBranch(repositories, tool),
      repositories.shallowEnds(tool),
      this.#room.sizeOf(tool),
    ]);
    if (size.packs >= MANY_PACKS) this.#mergePacks(tool);
    const fullness = await this.#room.open(tool, size);
    const id = newId(new Date(), randomBytes(10));
    const frozen = this.#options.frozen(tool);
    const toolHints = hints(tool, principal.uid);
    const watch = this.#options.watchRight({ tool, principal, action: 'deploy' });
    const priority = gitPriorities.enter(principal.uid);
    return new TruthfulPush({
      id,
      tool,
      principal,
      folder,
      environment: { ...this.#receiveEnvironment(id), ...(priority.isLow ? LOW_PRIORITY : {}) },
      deployBranch: repositories.deployBranch,
      hasDeployBranch: branch.commit !== null && branch.ref === `refs/heads/${repositories.deployBranch}`,
      hasAdvertisement,
      isArchive,
      maxPackBytes,
      maxRefs,
      maxShallow: Math.max(0, Math.min(MAX_SHALLOW_OF_PUSH, MAX_SHALLOW - shallow)),
      whyClosed: frozen ?? fullness,
      mostTags: size.tags < MAX_TAGS ? null : MAX_TAGS,
      mostParked: size.parked < MAX_PARKED ? null : MAX_PARKED,
      previewRefusal: (name) => this.#options.previewRefusal(tool, name),
      endPreview: (preview) => this.#options.endPreview({ tool, principal, ...preview }),
      submit: (parked) => submit(parked).catch((error: unknown) => this.#refused(tool, id, error)),
      tryOut: (parked, trial) => this.#tryOut(parked, trial),
      follow,
      whatIsLive: () => whatIsLive(tool),
      hints: toolHints,
      lostRight: () => (watch.lost.aborted ? watch.lost.reason.message : null),
      mayUnpack: (received, signal) => {
        // After git has received the pack, git only waits for the deployment. So from then on, it does not count as a
        // busy program of the person.
        void received.then(priority.leave);
        return this.#mayUnpack(principal, received, signal);
      },
      arrived: (bytes) => this.#room.arrived(tool, bytes),
      audit,
      log,
      onGitRefusal: () => void this.#suspects.add(tool),
      onClose: (wasKilled) => {
        watch[Symbol.dispose]();
        priority.leave();
        if (!this.#pushes.delete(id)) return;
        this.#left({ tool, principal });
        if (wasKilled) this.#sweep(tool);
      },
    });
  }

  async #tryOut(push: ParkedPush, trial: Trial): Promise<void> {
    const { repositories, tryOut } = this.#options;
    const objects = await realpath(join(repositories.folder(push.tool), 'objects'));
    const quarantine = resolve(trial.quarantine);
    if (dirname(quarantine) !== objects) throw new Error(`not a quarantine of git: ${trial.quarantine}`);
    const shallowFile = await this.#shallowFile(push.tool, quarantine, trial.shallow);
    await tryOut(push, trial, repositories.during(push.tool, quarantine, shallowFile));
  }

  /**
   * Writes the commits at which the history ends into a file in git's quarantine folder: those of the repository and
   * those of a push from a shallow clone. Returns the path of the file, or null if the client's clone is not shallow.
   */
  async #shallowFile(tool: ToolName, quarantine: string, shallow: readonly string[]): Promise<string | null> {
    if (shallow.length === 0) return null;
    const known = await readFile(join(this.#options.repositories.folder(tool), 'shallow'), 'utf8').catch(
      noneIfGone,
    );
    const file = join(quarantine, 'shallow');
    await writeFile(file, `${known ?? ''}${shallow.join('\n')}\n`);
    return file;
  }

  #mayUnpack(principal: Principal, received: Promise<void>, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        resolve();
        return received;
      };
      this.#unpacking.run(principal, turn, signal).catch(reject);
    });
  }

  async upload(tool: ToolName, protocol: string | null, reader: Principal | null): Promise<FetchSession> {
    const leave = reader === null ? () => {} : this.#fetches.take(reader, tool);
    const watch =
      reader === null ? null : this.#options.watchRight({ tool, principal: reader, action: 'read' });
    const priority = reader === null ? null : gitPriorities.enter(reader.uid);
    const close = () => {
      watch?.[Symbol.dispose]();
      priority?.leave();
      leave();
    };
    try {
      if (reader !== null) this.#options.audit({ what: 'fetch', who: reader, tool });
      const folder = await this.#ensure(tool);
      const more = protocol === null ? {} : { GIT_PROTOCOL: protocol };
      const low = priority?.isLow === true ? LOW_PRIORITY : {};
      const environment = this.#environment(hiddenRefs, { ...more, ...low });
      return { folder, environment, lost: watch?.lost ?? null, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  async advertise(tool: ToolName): Promise<{ folder: string; environment: Record<string, string> }> {
    const folder = await this.#ensure(tool);
    return { folder, environment: this.#environment(this.#receiveSettings()) };
  }

  /** Returns the running push with this id. Null if it does not run, for example because its git has ended. */
  push(id: string): TruthfulPush | null {
    return this.#pushes.get(id) ?? null;
  }

  /** True while a push, a copy of a commit, or the work of `whileIdle` uses the tool's repository. */
  isBusy(tool: ToolName): boolean {
    return this.#options.repositories.turns.isBusy(tool);
  }

  /**
   * Runs `work` once no push and no copy of a commit uses the tool's repository. Pushes that come while `work` waits
   * run before `work`. Pushes that come while `work` runs wait for its end.
   */
  async whileIdle(tool: ToolName, work: () => Promise<void>): Promise<void> {
    await this.#options.repositories.turns.whileIdle(tool, async () => {
      await work();
      await this.#room.weighAgain(tool);
    });
  }

  /**
   * Deletes the temporary refs that held an atomic push's tags until its deployment ended. With `withCommit`, also
   * deletes the temporary ref of the pushed commit.
   */
  async forgetParked(tool: ToolName, id: string, withCommit: boolean): Promise<void> {
    const { repositories } = this.#options;
    const patterns = [parkedFolder(id), ...(withCommit ? [parkedRef(id)] : [])];
    await deleteRefs(repositories, tool, patterns);
  }

  /**
   * Deletes the temporary refs of a push that the server refused, then throws `error`, the refusal. Such a push makes
   * no deployment, so nothing needs these refs.
   */
  async #refused(tool: ToolName, id: string, error: unknown): Promise<never> {
    // A failure to delete the refs is only logged, because the client must be told why its push was refused.
    await this.forgetParked(tool, id, true).catch((err: unknown) =>
      this.#options.log.warn({ err, tool, push: id }, 'cannot delete the refs of a refused push'),
    );
    throw error;
  }

  /**
   * Removes the lock files and half-received objects that a killed git process left in the tool's repository. Because
   * of the lock files, git would refuse later pushes.
   */
  #sweep(tool: ToolName): void {
    const { repositories, log } = this.#options;
    this.whileIdle(tool, () => sweepRepository(repositories, tool)).catch((err: unknown) =>
      log.error({ err, tool }, 'cannot remove the locks of a killed git'),
    );
  }

  /**
   * Merges the packs of the tool's repository as soon as no push is running, and no packs of another repository are
   * being merged. Returns before the merge. Does nothing if a merge is already waiting or running.
   */
  #mergePacks(tool: ToolName): void {
    if (this.#merging.has(tool)) return;
    this.#merging.add(tool);
    this.#mergeInTurn(tool)
      .catch((err: unknown) =>
        this.#options.log.error({ err, tool }, 'cannot merge the packs of a repository'),
      )
      .finally(() => this.#merging.delete(tool));
  }

  async #mergeInTurn(tool: ToolName): Promise<void> {
    const { turns } = this.#options.repositories;
    // Wait for merges of other repositories before `whileIdle`, not in it, because pushes to the tool wait for work in
    // `whileIdle`. If another merge begins before this work, wait again. Merges that have waited longer go first.
    for (let isOver = false; !isOver; ) {
      await turns.merge;
      await this.whileIdle(tool, async () => {
        if (turns.merge !== null) return;
        isOver = true;
        await this.#options.mergePacks(tool);
      });
    }
  }

  /**
   * Forgets the size of the repository of this name, and whether its refs may be damaged. Call this after a rename from
   * or to the name.
   */
  forgetName(tool: ToolName): void {
    this.#room.forget(tool);
    this.#suspects.delete(tool);
  }

  /**
   * Returns the size of a tool's repository in bytes, which may lack what a running push has brought. 0 without a
   * repository.
   */
  async bytesOf(tool: ToolName): Promise<number> {
    if (!this.#options.repositories.exists(tool)) return 0;
    return (await this.#room.sizeOf(tool)).bytes;
  }

  /**
   * Returns the folder of the tool's repository, after creating or repairing the repository if necessary.
   *
   * @throws DeployError `TOOL_RENAMED` if the tool has another name now; `DISK_NEARLY_FULL` if the repository cannot be
   * created or repaired and the disk is nearly full; otherwise the error of the creation or the repair.
   */
  async #ensure(tool: ToolName): Promise<string> {
    const { repositories, repair, assertNamed } = this.#options;
    assertNamed(tool);
    try {
      const folder = await repositories.ensure(tool);
      const scope = this.#suspects.delete(tool) ? 'all' : 'branch';
      if ((await findTorn(repositories, tool, scope)).length > 0) await repair(tool);
      return folder;
    } catch (error) {
      await this.#options.room.assertRoom();
      throw error;
    }
  }

  #left({ tool, principal: { uid } }: Pick<ReceiveRequest, 'tool' | 'principal'>): void {
    this.#room.ended(tool, this.#options.repositories.turns.leave(tool, uid));
  }

  #receiveSettings(): GitSettings {
    return [
      ...hiddenRefs,
      ['receive.hideRefs', 'refs/releases'],
      ['receive.fsckObjects', 'true'],
      ['receive.maxInputSize', String(this.#options.maxPackBytes)],
      ['receive.advertisePushOptions', 'true'],
      ['receive.shallowUpdate', 'true'],
      ['receive.autogc', 'false'],
      // Let git store each received pack without unpacking it. By default, git unpacks a pack of fewer than 100
      // objects, and holds all tree objects of the pack in memory. A pack of 1 MB can then need 25 GB.
      ['receive.unpackLimit', '1'],
      ['receive.keepAlive', '5'],
      // While git checks a push, the new objects are in a folder of their own, and the repository counts as an
      // alternate of this folder (gitrepository-layout(5)). By default, git would list all refs of this alternate
      // at each push. The command `true` lists none.
      ['core.alternateRefsCommand', 'true'],
      ['receive.denyDeleteCurrent', 'refuse'],
      ['core.hooksPath', this.#options.hooksFolder],
    ];
  }

  #receiveEnvironment(id: string): Record<string, string> {
    const settings: GitSettings = [
      ...this.#receiveSettings(),
      ['receive.hideRefs', `!${parkedRef(id)}`],
      ['receive.hideRefs', `!${parkedFolder(id)}`],
    ];
    return this.#environment(settings, {
      TOOLFORGE_PUSH_ID: id,
      TOOLFORGE_PUSH_SOCKET: this.#options.socketPath,
    });
  }

  /** The whole environment of a git that serves a client. */
  #environment(settings: GitSettings, more: Readonly<Record<string, string>> = {}): Record<string, string> {
    const environment = this.#options.repositories.environment(settings, more);
    return { ...environment, PATH: `${LIMITED_GIT}:${environment['PATH']}` };
  }
}
