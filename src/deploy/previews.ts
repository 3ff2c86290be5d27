import type { CleanUpHold } from '../core/concurrency/clean-up-hold.ts';
import { PerToolQueue } from '../core/concurrency/per-tool-queue.ts';
import { type Beneficiary, RotatingLimit } from '../core/concurrency/rotating-limit.ts';
import { untilAborted } from '../core/concurrency/until-aborted.ts';
import { DeployError } from '../core/errors.ts';
import { tokenKey } from '../core/fair-share/person-limit.ts';
import type { ToolName } from '../core/names.ts';
import { PREVIEW_BRANCHES, previewBranch, previewName, previewTool } from '../core/preview-names.ts';
import { SteadyTime } from '../core/steady-time.ts';
import type { ToolLimits } from '../core/tool-limits.ts';
import type { Deployment } from '../core/types.ts';
import { parkedFolder, parkedRef } from '../git/push/truthful-push.ts';
import { readRefs } from '../git/refs/ref-files.ts';
import { deleteRefs, updateRefs } from '../git/refs/ref-transaction.ts';
import type { Preview, Store } from '../store/store.ts';
import { assertBuildsLeft } from './build-step.ts';
import type { DeployContext } from './deploy-context.ts';
import type { ParkedPush, Previews, Ticket, Verdict } from './deployments.ts';
import type { DeploymentLine, PushTrial } from './line/deployment-line.ts';
import { personOf } from './line/line-entry.ts';
import { previewEnding, shuttingDown } from './line/line-refusals.ts';
import { dropOldParked } from './old-refs.ts';
import { copyCommit } from './promotion.ts';

export interface ToolPreviewsOptions
  extends Pick<DeployContext, 'store' | 'repositories' | 'runtime' | 'builder' | 'log' | 'buildsADay'> {
  readonly line: Pick<DeploymentLine, 'inspect' | 'submit' | 'cancelAll' | 'tryOut'>;
  /** How many previews a tool may have at the same time. */
  readonly limit: number;
  readonly days: number;
  /** The most memory of one process of a preview, in bytes. */
  readonly memory: number;
  /** True if the user directory has a tool of this name. @throws DeployError if the directory does not answer. */
  readonly isTool: (name: ToolName) => Promise<boolean>;
  /** Keeps previews from being deleted while a backup or an export is made. */
  readonly cleanUp: Pick<CleanUpHold, 'unlessHeld'>;
  /** Deletes the folders of a tool in the data folder that the builder does not delete. */
  readonly removeFolders: (tool: ToolName) => Promise<void>;
  /** The clock by which the age of previews is measured. By default, a new `SteadyTime`. */
  readonly time?: SteadyTime;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const HOUR_MS = 60 * 60 * 1000;
/** If the server fails to end a preview, it tries again after this many milliseconds. */
const AGAIN_MS = 60_000;
/**
 * How many commits are copied into repositories of previews at the same time. Each copy can be gigabytes. One person
 * gets at most two of these places, for example one for a push of their own and one for a push with their deploy token.
 * So one place stays free for other people.
 */
const COPIES_AT_ONCE = 3;
/** The most time that the copy of one commit into the repository of a preview may take. */
const COPY_MS = 5 * 60_000;

/**
 * Makes and ends previews. The preview `fix` of the tool wikibot is a tool `fix--wikibot`, with a repository, releases,
 * config vars, a user and a host name of its own. The branch `preview/fix` of wikibot follows what is live on the
 * preview.
 */
export class ToolPreviews implements Previews, AsyncDisposable {
  readonly #options: ToolPreviewsOptions;
  /** For each preview, lets only one push, or the end of the preview, run at a time. */
  readonly #turns = new PerToolQueue();
  /** For each preview: the clean-up that runs after its deployments. */
  readonly #cleanUps = new Map<ToolName, Promise<unknown>>();
  readonly #closing = new AbortController();
  readonly #time: SteadyTime;
  readonly #copying = new RotatingLimit(COPIES_AT_ONCE);
  #timer: NodeJS.Timeout | null = null;
  #ending: Promise<void> = Promise.resolve();

  constructor(options: ToolPreviewsOptions) {
    this.#options = options;
    this.#time = options.time ?? new SteadyTime();
  }

  get days(): number {
    return this.#options.days;
  }

  /**
   * Queues a push to a preview, whose `branchRef` is the branch of the preview. Makes the preview if there is none.
   *
   * @throws DeployError `PREVIEW_NAME` if another tool has the name; `TOO_MANY_PREVIEWS` if the tool already has as
   * many previews as it may have; `BUILD_LIMIT` if no build may start now; `COPY_TIME` if the copy of the commit takes
   * too long; the errors of `Deployments.submit`.
   */
  async submit(push: ParkedPush): Promise<Ticket> {
    const { repositories, line } = this.#options;
    const preview = previewOfPush(push);
    // Inspect the commit before it is copied, because the copy is the most expensive step, and useless if the commit is
    // refused.
    const facts = await line.inspect(push);
    return await this.#turns.run(preview, async () => {
      await this.#make(preview, push);
      const { signal } = this.#closing;
      const inTurn = (copy: () => Promise<void>) => this.#copying.run(beneficiaryOf(push), copy, signal);
      await copyCommit(repositories, push, {
        tool: preview,
        id: push.id,
        signal,
        inTurn,
        longestMs: COPY_MS,
      });
      const ticket = await line.submit(this.#asOfPreview(push, preview), facts);
      const settle = async (): Promise<Verdict> => {
        const verdict = await this.#withRefs(push, preview, await ticket.verdict);
        if (!verdict.isLive) await this.#forgetParked(push, ticket);
        return verdict;
      };
      return { ...ticket, verdict: settle() };
    });
  }

  /**
   * Tells `trial.progress` what a push to a preview would do, and changes nothing: it makes no preview either.
   *
   * @param trial - `repositories` has the objects of the push in the repository of its tool.
   * @throws DeployError if the real push would be refused or would fail before its build; the signal's reason.
   */
  async tryOut(push: ParkedPush, trial: Omit<PushTrial, 'store'>): Promise<void> {
    const { store, line, limit } = this.#options;
    const { tool } = push;
    const preview = previewOfPush(push);
    await this.#assertNameFree(preview, tool);
    const isNew = this.#isNew(preview, tool);
    const count = this.#previewsOf(tool).length + (isNew ? 1 : 0);
    const made = isNew ? 'the push would make the preview' : 'the push would renew the preview';
    trial.progress.line(`${made} ${previewName(preview)}; ${tool} would have ${count} of ${limit} previews`);
    const trying = line.tryOut(this.#asOfPreview(push, preview), {
      ...trial,
      repositories: trial.repositories.sharing(preview, tool),
      store: isNew ? withPreview(store, { name: preview, tool, limits: this.#limits(tool) }) : store,
    });
    await trying.catch((error: unknown) => {
      if (!(error instanceof DeployError && error.code === 'CONFIG_MISSING')) throw error;
      const set = `\`config set ${preview} NAME=value\``;
      const hint = isNew
        ? `Push without -o dry-run: that makes the preview, which then has config vars of its own. Set them with ${set}, and push again. Or give the values of ${tool} to new previews: \`config share ${tool} NAME\``
        : `Set them with ${set}, and push again.`;
      throw new DeployError(error.code, error.message, hint, { cause: error });
    });
  }

  async end(preview: ToolName, by: string): Promise<void> {
    let isDone = false;
    await this.#turns.run(preview, () =>
      this.#options.cleanUp.unlessHeld(async () => {
        await this.#end(preview, by).catch((error: unknown) => {
          if (this.#isEnding(preview)) this.#lookIn(AGAIN_MS);
          throw error;
        });
        isDone = true;
      }),
    );
    if (!isDone)
      throw new DeployError(
        'BACKUP_RUNNING',
        'nothing can be deleted now, because a backup or an export is being made',
        'End the preview again later. It also ends by itself.',
      );
  }

  /**
   * Ends a preview because a push deletes its branch. If the preview cannot be ended, restores its branch.
   *
   * @param hadBranch - True if git has deleted the branch. A preview that has not been live has no branch.
   * @param assertMay - Checks that the person may still deploy the tool. @throws DeployError if not.
   */
  async endPushed(
    preview: ToolName,
    {
      by,
      hadBranch,
      assertMay,
    }: { readonly by: string; readonly hadBranch: boolean; readonly assertMay: () => Promise<void> },
  ): Promise<void> {
    // If there is no preview, do nothing: the branch that the push has deleted was left over from an earlier preview.
    if (hadBranch && this.#options.store.previewOf(preview) === null) return;
    try {
      await assertMay();
      await this.end(preview, by);
    } catch (error) {
      await this.#follow(preview).catch((err: unknown) =>
        this.#options.log.error({ err, tool: preview }, 'cannot restore the branch of a preview'),
      );
      throw error;
    }
  }

  /**
   * Runs the clean-up after a deployment. After a deployment of a preview, also moves the branch of the preview. Does
   * nothing if the preview is being deleted.
   */
  async afterDeployment({ tool }: Deployment, cleanUp: () => Promise<void>): Promise<void> {
    const { store, log } = this.#options;
    const parent = store.previewOf(tool);
    if (parent === null) return await cleanUp();
    if (this.#isEnding(tool)) return;
    // The temporary refs of pushes to a preview are in the repository of its tool, so old ones are deleted there.
    const work = cleanUp().then(() => dropOldParked(this.#options, parent));
    this.#cleanUps.set(tool, Promise.allSettled([this.#cleanUps.get(tool), work]));
    await this.#follow(tool).catch((err: unknown) =>
      log.warn({ err, tool }, 'the branch of a preview has not moved to what is live on it'),
    );
    await work;
  }

  /**
   * Ends the previews whose end has begun or is due, and moves the branch of each other preview to what is live on it.
   * Does so again every hour, until this object is disposed, and a minute after the end of a preview has failed.
   */
  start(): void {
    this.#lookIn(HOUR_MS);
    // Only log a failure, because a damaged store or a full disk must not end the server.
    const looking = this.#ending.then(() => this.#endOld());
    this.#ending = looking.catch((err: unknown) =>
      this.#options.log.error(
        { err },
        'cannot find out which previews must end; the server tries again later',
      ),
    );
  }

  #lookIn(delayMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#closing.signal.aborted ? null : setTimeout(() => this.start(), delayMs).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(shuttingDown());
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#ending;
  }

  async #endOld(): Promise<void> {
    const { store, log, days } = this.#options;
    const previews = store.previews();
    const now = this.#time.now(Math.max(0, ...previews.map(({ usedAt }) => usedAt)));
    for (const { name, tool, usedAt, isEnding } of previews) {
      if (this.#closing.signal.aborted) return;
      try {
        // If the store was restored from an old backup and the server has read this preview back from a copy, the
        // limits of the preview are lost. Then give it the limits of a new preview.
        const stored = store.storedLimits(name);
        if (stored.memory === undefined) store.setOwnLimits(name, { ...this.#limits(tool), ...stored });
        if (isEnding || usedAt < now - days * DAY_MS) await this.end(name, 'the server');
        else await this.#follow(name);
      } catch (err) {
        if (this.#closing.signal.aborted) return;
        log.error({ err, tool: name }, 'cannot tidy up a preview; the server tries again later');
      }
    }
  }

  /** Makes the record of a preview unless it exists. */
  async #make(preview: ToolName, { tool, principal }: ParkedPush): Promise<void> {
    await this.#assertNameFree(preview, tool);
    // Await nothing from here on, so that pushes to several previews at the same time cannot make more previews than
    // the tool may have.
    if (!this.#isNew(preview, tool)) return;
    const made = { limits: this.#limits(tool), by: principal.uid, at: Date.now() };
    this.#options.store.addPreview(preview, tool, made);
  }

  /** Checks the name of a preview. @throws DeployError `PREVIEW_NAME` if another tool has this name. */
  async #assertNameFree(preview: ToolName, tool: ToolName): Promise<void> {
    const { store, isTool } = this.#options;
    if (store.previewOf(preview) === null && ((await isTool(preview)) || this.#wasDeployed(preview)))
      throw new DeployError(
        'PREVIEW_NAME',
        `there is a tool with the name ${preview}, so ${tool} can have no preview ${previewName(preview)}`,
        'Choose another name: git push toolforge HEAD:preview/NAME',
      );
  }

  /**
   * False if the preview exists. True if a push may make the preview.
   *
   * @throws DeployError `PREVIEW_ENDING` if the preview is being deleted; `TOO_MANY_PREVIEWS` or `BUILD_LIMIT` if a new
   * preview would exceed a limit.
   */
  #isNew(preview: ToolName, tool: ToolName): boolean {
    const { store, limit } = this.#options;
    if (this.#isEnding(preview)) throw previewEnding();
    if (store.previewOf(preview) !== null) return false;
    const others = this.#previewsOf(tool);
    const [oldest] = others.toSorted((a, b) => a.usedAt - b.usedAt);
    if (others.length >= limit)
      throw new DeployError(
        'TOO_MANY_PREVIEWS',
        `the tool ${tool} has ${others.length} previews, and a tool can have ${limit} (previews)`,
        oldest === undefined
          ? 'Ask the operators of this server to allow previews.'
          : `End one, such as the one that was pushed longest ago: git push toolforge :${previewBranch(oldest.name)}`,
      );
    // Make no preview if the tool has no build left for now, because the push builds right after the preview is made.
    assertBuildsLeft(this.#options, tool, Date.now());
    return true;
  }

  /** The previews of a tool, including those that are ending. */
  #previewsOf(tool: ToolName): Preview[] {
    return this.#options.store.previews(tool);
  }

  /** Turns a push to `preview/NAME` of a tool into a push to the deploy branch of the preview. */
  #asOfPreview(push: ParkedPush, preview: ToolName): ParkedPush {
    const { repositories, days } = this.#options;
    const branch = `preview/${previewName(preview)}`;
    return {
      ...push,
      tool: preview,
      branchRef: `refs/heads/${repositories.deployBranch}`,
      withUpdates: [],
      previewBranch: branch,
      note: `a preview of ${push.tool}, with its own config vars (${preview}); its schedules do not run; it ends ${days} days after its newest deployment, or with: git push toolforge :${branch}`,
    };
  }

  /**
   * True if the server has a repository or a live release of this name. Finds also a tool that is no longer in the user
   * directory.
   */
  #wasDeployed(name: ToolName): boolean {
    const { store, repositories } = this.#options;
    return repositories.exists(name) || (store.recordOf(name)?.liveVersion ?? null) !== null;
  }

  #limits(tool: ToolName): Partial<ToolLimits> {
    const { builds, memory = Number.POSITIVE_INFINITY } = this.#options.store.ownLimits(tool);
    return {
      memory: Math.min(memory, this.#options.memory),
      replicas: 1,
      ...(builds === undefined ? {} : { builds }),
    };
  }

  #isEnding(preview: ToolName): boolean {
    return this.#options.store.preview(preview)?.isEnding === true;
  }

  /**
   * Returns the verdict for a push. `isLive` is true only if the commit is live, and the branch of the preview and the
   * tags of the push have moved.
   */
  async #withRefs(push: ParkedPush, preview: ToolName, verdict: Verdict): Promise<Verdict> {
    if (!verdict.isLive) return verdict;
    try {
      await this.#follow(preview, [...push.withUpdates, `delete ${parkedRef(push.id)} ${push.commit}`]);
      return verdict;
    } catch (err) {
      this.#options.log.warn({ err, tool: preview }, 'the refs of a push to a preview have not moved');
      const reason = `v${verdict.version} of the preview is live, but the refs of this push could not be moved; push again`;
      return { isLive: false, reason };
    }
  }

  /**
   * Deletes the temporary refs of the tags of a push that has not gone live. If the push joined a deployment, also
   * deletes the temporary ref of its commit, because a person can join a deployment as often as they like. These refs
   * are in the repository of the preview's tool.
   */
  async #forgetParked({ tool, id }: ParkedPush, { isJoined }: Ticket): Promise<void> {
    const refs = [parkedFolder(id), ...(isJoined ? [parkedRef(id)] : [])];
    await deleteRefs(this.#options.repositories, tool, refs).catch((err: unknown) =>
      this.#options.log.warn({ err, tool, push: id }, 'cannot delete the refs of a push to a preview'),
    );
  }

  /**
   * Moves the branch of a preview, in the repository of its tool, to the commit that is live on the preview.
   *
   * @param more - Further lines for the same ref transaction, such as those that move the tags of a push.
   */
  async #follow(preview: ToolName, more: readonly string[] = []): Promise<void> {
    const { store, repositories } = this.#options;
    const tool = store.previewOf(preview);
    if (tool === null) return;
    const branch = previewBranch(preview);
    const move = async () => {
      const liveVersion = store.preview(preview)?.liveVersion ?? null;
      const live = liveVersion === null ? undefined : store.release(preview, liveVersion)?.commit;
      const now = (await readRefs(repositories, tool, [branch])).get(branch);
      return live === undefined || live === now ? [] : [`update ${branch} ${live}`];
    };
    if (more.length === 0 && (await move()).length === 0) return;
    await updateRefs(repositories, tool, async () => [...(await move()), ...more]);
  }

  async #end(preview: ToolName, by: string): Promise<void> {
    const { store, runtime, builder, line, repositories, removeFolders, log } = this.#options;
    const tool = store.previewOf(preview);
    if (tool === null)
      throw new DeployError(
        'NO_PREVIEW',
        `there is no preview ${preview}`,
        'List the previews of a tool: `previews TOOL`',
      );
    // Record that the preview ends. If the server stops after this, its next start goes on ending the preview.
    store.markEnding(preview);
    await line.cancelAll(preview, by);
    // Clear the live release and the config vars again, because a deployment that could not be cancelled may have
    // recorded both.
    store.markEnding(preview);
    // In a cluster, `remove` and `forget` may wait for minutes. So wait for each only until this server stops: the next
    // server calls both again.
    const { signal } = this.#closing;
    signal.throwIfAborted();
    await untilAborted(runtime.remove(preview), signal);
    await this.#cleanUps.get(preview);
    this.#cleanUps.delete(preview);
    signal.throwIfAborted();
    await untilAborted(builder.forget(preview), signal);
    const branch = previewBranch(preview);
    const hasBranch = repositories.exists(tool) && (await readRefs(repositories, tool, [branch])).has(branch);
    if (hasBranch) await updateRefs(repositories, tool, [`delete ${branch}`]);
    await removeFolders(preview);
    store.removePreview(preview, Date.now());
    log.info({ tool, preview, by }, 'preview ended');
  }
}

/**
 * Returns the names by which `RotatingLimit` decides when the copy of a push's commit may run. Each tool and each login
 * has one copy at a time, so that nobody waits behind all previews of another tool. A deploy token or a tool's account
 * counts as a login of its own, so that it does not delay previews of other tools. For the last place, a deploy token
 * counts as its maker. The accounts of tools do not get the last place, because one person may have many of them.
 */
function beneficiaryOf({ tool, principal }: ParkedPush): Beneficiary {
  const ofTool = `tool ${tool}`;
  const person = personOf(principal);
  return {
    oneEach: [ofTool, `login ${tokenKey(principal) ?? principal.uid}`],
    rotation: [`person ${person}`, ofTool],
    isOnePerson: person === principal.uid,
  };
}

/** Returns the name of the preview that a push makes or changes: `fix--wikibot` for `preview/fix` of wikibot. */
function previewOfPush({ tool, branchRef }: ParkedPush): ToolName {
  return previewTool(tool, branchRef.slice(PREVIEW_BRANCHES.length));
}

/**
 * Returns the store as it would be after `addPreview`, for the methods that a dry run calls. Changes nothing. Here,
 * `ToolRecord.number` of the preview is that of its tool, because only `addPreview` gives a preview its own.
 */
function withPreview(
  store: Store,
  {
    name,
    tool,
    limits,
  }: { readonly name: ToolName; readonly tool: ToolName; readonly limits: Partial<ToolLimits> },
): Store {
  const { number } = store.tool(tool);
  const shared = store.sharedConfig(tool);
  const given = Object.entries(store.configVars(tool)).filter(([one]) => shared.includes(one));
  const record = { name, number, liveVersion: null, isStopped: false, isInMaintenance: false };
  const own: Partial<Store> = {
    tool: (asked) => (asked === name ? record : store.tool(asked)),
    previewOf: (asked) => (asked === name ? tool : store.previewOf(asked)),
    ownLimits: (asked) => (asked === name ? limits : store.ownLimits(asked)),
    configVars: (asked) => (asked === name ? Object.fromEntries(given) : store.configVars(asked)),
    buildStarts: (asked, at) => store.buildStarts(asked === name ? tool : asked, at),
    freezeOf: (asked) => store.freezeOf(asked === name ? tool : asked),
  };
  return new Proxy(store, {
    get: (target, key) => {
      const value: unknown = Reflect.get(own, key) ?? Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
