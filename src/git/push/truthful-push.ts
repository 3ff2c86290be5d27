import { randomUUID } from 'node:crypto';
import { DeployError, faultOf } from '../../core/errors.ts';
import type { Audit } from '../../core/log/audit.ts';
import type { Log } from '../../core/log/log.ts';
import { commitId, type ToolName } from '../../core/names.ts';
import { type Progress, paint, progressTo } from '../../core/progress.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import { sentence } from '../../core/text/sentence.ts';
import type { Principal } from '../../core/types.ts';
import type { ParkedPush, Ticket } from '../../deploy/deployments.ts';
import type { PushSession } from '../pack-services.ts';
import { syncTags } from '../refs/sync-tags.ts';
import {
  type CommandList,
  encodeCommandList,
  hasCapability,
  isZero,
  type RefCommand,
  zeroId,
} from './command-list.ts';
import { Incoming, type Rewritten } from './incoming.ts';
import { type Answer, Outgoing } from './outgoing.ts';
import { type PushOptions, readPushOptions } from './push-options.ts';
import { type PushOutcome, pushReport } from './push-report.ts';
import { type Fate, judgeRefs, refusalOfAll } from './ref-policy.ts';
import type { Report } from './report-status.ts';

/** What a dry run of a push needs: the folder with the objects of the push, and the output for the client. */
export interface Trial {
  /**
   * The folder with the objects of the push, which git deletes when its hook pre-receive ends (git-receive-pack(1)).
   */
  readonly quarantine: string;
  /** The commits at which the client's shallow clone ends. */
  readonly shallow: readonly string[];
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** The data and functions that a push gets from the rest of the server. */
export interface PushContext {
  readonly id: string;
  readonly tool: ToolName;
  readonly principal: Principal;
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly deployBranch: string;
  readonly hasDeployBranch: boolean;
  readonly hasAdvertisement: boolean;
  /** True if the server itself pushes a commit of files that a person has sent without git. */
  readonly isArchive: boolean;
  readonly maxPackBytes: number;
  readonly maxRefs: number;
  /** The maximum number of commits at which the history of this push may end, if the client's clone is shallow. */
  readonly maxShallow: number;
  /** Why this tool's repository accepts no push, in one line. Null if it accepts pushes. */
  readonly whyClosed: string | null;
  /** The maximum number of tags, if the tool has reached it. Null if the tool may get more tags. */
  readonly mostTags: number | null;
  /** The maximum number of tags of atomic pushes that wait for deployments, if it is reached. Otherwise null. */
  readonly mostParked: number | null;
  /** Why a push to `preview/NAME` must not make a preview, in one line. Null if it may make one. */
  readonly previewRefusal: (name: string) => string | null;
  /**
   * Ends a preview, because a push deletes its branch. `hadBranch` is false if there was no branch: a preview that has
   * not been live has none.
   *
   * @throws DeployError if the preview may not or cannot be ended now; `NO_PREVIEW` if there was neither a preview nor
   * a branch.
   */
  readonly endPreview: (preview: {
    readonly branchRef: string;
    readonly hadBranch: boolean;
  }) => Promise<void>;
  /** Checks the pushed commit and queues its deployment. @throws DeployError if the commit may not be deployed. */
  readonly submit: (push: ParkedPush) => Promise<Ticket>;
  /**
   * Tells `trial.progress` what the push would do. The new objects of the push are only in `trial.quarantine`.
   *
   * @throws DeployError if the push would be refused or would fail before its build.
   */
  readonly tryOut: (push: ParkedPush, trial: Trial) => Promise<void>;
  readonly follow: (id: string, isColoured: boolean, signal: AbortSignal) => AsyncIterable<string>;
  /** Says which release is live, for example `v41 is still live`. */
  readonly whatIsLive: () => string;
  /**
   * `redeploy`: the notice after a push of no ref. This property is a getter, because the notice says what is live
   * after the push. `follow`: returns the command that follows the deployment `id` of a detached push.
   */
  readonly hints: { readonly redeploy: string; readonly follow: (id: string) => string };
  readonly audit: Audit;
  readonly log: Log;
  /**
   * Waits until git may read the pack, because git receives and checks only a few packs of one person at the same time.
   * This push counts as one of them until `received` resolves.
   *
   * @throws the signal's reason, if the signal fires during this wait.
   */
  readonly mayUnpack: (received: Promise<void>, signal: AbortSignal) => Promise<void>;
  /** Why the person may no longer push to the tool, in one line. Null while they may. */
  readonly lostRight: () => string | null;
  /** Counts bytes that git gets. Returns why git must get no more, in one line. Null if git may get more. */
  readonly arrived: (bytes: number) => string | null;
  /** Called if git itself refuses the push or one of its refs, or ends without a report. */
  readonly onGitRefusal: () => void;
  /** Called when git has ended. May be called more than once, because each call of `close` calls it. */
  readonly onClose: (wasKilled: boolean) => void;
}

/**
 * How many refs of one push the audit log lists. An accepted push has more refs only if the setting `push_refs` was
 * raised.
 */
const MAX_NOTED = 500;
/** How many refused refs of one push the audit log lists, because a client could fill the log with such refs. */
const MAX_REFUSALS_NOTED = 20;

/**
 * How many lines a command list may have in addition to `maxRefs`. A list with more has too many refs, shallow commits
 * or push options.
 */
const MORE_LINES = 2000;

const NAMED_NO_REF =
  'Your git disconnected before it named a ref to push. (This server uses SHA-1, so a repository made with --object-format=sha256 cannot be pushed.)\n';

/**
 * Returns the name of the temporary ref that holds the commit of push `id`. If the commit does not go live, the server
 * keeps this ref for up to 14 days.
 */
export function parkedRef(id: string): string {
  return `refs/deployments/${id}`;
}

/** Returns the folder of temporary refs that hold the tags of the atomic push `id` until its deployment ends. */
export function parkedFolder(id: string): string {
  return `refs/parked/${id}`;
}

/**
 * One push. git stores the pushed commit under a temporary ref instead of the deploy branch. But the report to the
 * client names the deploy branch, and says whether the commit is live, unless the client asks for `detach` or
 * `dry-run`.
 */
export class TruthfulPush implements PushSession {
  readonly incoming: Incoming;
  readonly outgoing: Outgoing;
  readonly whyClosed: string | null;
  readonly #context: PushContext;
  readonly #bodyEnd: Promise<void>;
  /** Resolves when git has received the pack, or when the push ends. */
  readonly #received = Promise.withResolvers<void>();
  readonly #closed = new AbortController();
  #list: CommandList | null = null;
  #options: PushOptions = {
    isDetached: false,
    isDryRun: false,
    useCache: true,
    isColoured: true,
    message: null,
  };
  #fates: readonly Fate[] = [];
  #fatal: string | null = null;
  #outcome: Promise<PushOutcome> = Promise.resolve({
    kind: 'refused',
    reason: 'the deployment did not start (the post-receive hook did not report); push again',
  });
  #exitStatus: 0 | 1 | null = null;
  #isAnswered = false;
  /** True if this push has begun to end a preview. */
  #hasEnded = false;

  constructor(context: PushContext) {
    this.#context = context;
    this.whyClosed = context.whyClosed;
    this.incoming = new Incoming({
      mostLines: context.maxRefs + MORE_LINES,
      decide: (list) => this.#decide(list),
      refuse: (error) => {
        this.#fatal = `this is not a push of git: ${error.message}`;
      },
      arrived: (bytes) => {
        this.#fatal ??= context.lostRight() ?? context.arrived(bytes);
        return this.#fatal === null;
      },
      whenMayUnpack: () => context.mayUnpack(this.#received.promise, this.#closed.signal),
      maxDiscardBytes: context.maxPackBytes,
    });
    this.outgoing = new Outgoing({
      hasAdvertisement: context.hasAdvertisement,
      hasSideBand: () => this.#has('side-band-64k'),
      answer: (report) => this.#answer(report),
    });
    this.#bodyEnd = new Promise((resolve) => {
      this.incoming.once('finish', resolve);
      this.incoming.once('close', resolve);
    });
  }

  get id(): string {
    return this.#context.id;
  }

  get folder(): string {
    return this.#context.folder;
  }

  get environment(): Readonly<Record<string, string>> {
    return this.#context.environment;
  }

  readonly notice = (): string | null => {
    const isEmpty = this.#list?.commands.length === 0 && this.#context.hasAdvertisement;
    if (this.#list === null && this.#fatal === null && this.#context.hasAdvertisement) {
      // If git has sent no ref advertisement, the client could not name a ref. The fault is then the server's, so the
      // client gets no notice that blames the client.
      return this.outgoing.hasAdvertised ? NAMED_NO_REF : null;
    }
    if (this.#fatal !== null) return `${this.#fatal}\n`;
    return isEmpty ? this.#context.hints.redeploy : null;
  };

  readonly exitStatus = (): 0 | 1 | null => (this.#fatal !== null ? 1 : this.#exitStatus);

  close(wasKilled = false): void {
    this.#received.resolve();
    this.#closed.abort();
    this.incoming.destroy();
    this.#context.onClose(wasKilled);
  }

  /**
   * Handles the post-receive hook of this push, which runs when git has stored the refs in `updated`. `write` sends
   * text to the client and resolves when it has been sent. If the client disconnects, the deployment continues.
   */
  async received(
    updated: ReadonlySet<string>,
    write: (text: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    this.#received.resolve();
    const isColoured = this.#options.isColoured;
    const say = progressTo((text) => void write(paint(text, isColoured)).catch(() => undefined));
    // If git was killed before this hook connected, the client already has the answer that nothing was deployed. So
    // deploy nothing.
    // A dry run ends in hooks/pre-receive. If git lacks this hook, the dry run must still deploy nothing.
    if (this.#isAnswered || this.#options.isDryRun) return;
    const ended = this.#fates.find((fate) => fate.kind === 'end-preview');
    if (ended !== undefined && updated.has(ended.command.ref)) {
      this.#outcome = this.#endPreview(ended.command, say);
      await this.#outcome;
      return;
    }
    const deploy = this.#fates.find((fate) => fate.kind === 'deploy');
    if (deploy === undefined || !updated.has(parkedRef(this.id))) {
      if (updated.size > 0) say.line('Stored. Tags do not deploy.');
      return;
    }
    const submitted = this.#submit(deploy.command);
    this.#outcome = submitted.then(({ outcome }) => outcome);
    // Handle a rejection here, because `#answer` awaits the outcome only when git has ended.
    this.#outcome.catch(() => undefined);
    const { ticket, refusal } = await submitted;
    if (refusal !== null) say.warn(refusal);
    if (ticket === null) return;
    if (this.#options.isDetached) {
      say.result(`Accepted as deployment ${ticket.id}`);
      say.line(`To follow it: ${this.#context.hints.follow(ticket.id)}`);
      return;
    }
    for await (const text of this.#context.follow(ticket.id, isColoured, signal)) await write(text);
  }

  /**
   * Handles the hook pre-receive of a dry run, which runs when git has checked the objects of the push, and which then
   * declines the push. `quarantine` is the folder with these objects.
   */
  async tried(
    quarantine: string,
    write: (text: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    this.#received.resolve();
    const isColoured = this.#options.isColoured;
    const progress = progressTo((text) => void write(paint(text, isColoured)).catch(() => undefined));
    if (this.#isAnswered || !this.#options.isDryRun) return;
    const trying = this.#tryOut({
      quarantine,
      shallow: this.#list?.shallow ?? [],
      progress,
      signal: AbortSignal.any([signal, this.#closed.signal]),
    });
    this.#outcome = trying;
    await trying;
  }

  async #tryOut(trial: Trial): Promise<PushOutcome> {
    const { progress } = trial;
    const deploy = this.#fates.find((fate) => fate.kind === 'deploy');
    try {
      if (deploy === undefined) progress.line('Tags do not deploy.');
      else await this.#context.tryOut(this.#parkedPush(deploy.command), trial);
      progress.result('Dry run: this push would pass up to its build. Nothing was stored or changed.');
      return { kind: 'would-pass' };
    } catch (error) {
      // If the client has left, nobody reads this answer, and `error` may only come from the disconnection. So do not
      // log it.
      if (trial.signal.aborted) return { kind: 'refused', reason: 'dry run: interrupted; push again' };
      const { reason, hint } = this.#explain(error);
      const live = this.#context.whatIsLive();
      progress.warn(`${sentence(reason)}\n${hint}\nThis was a dry run; ${live}.`);
      return { kind: 'refused', reason: `dry run: ${reason.split('\n')[0]}` };
    }
  }

  async #endPreview({ ref, oldId }: RefCommand, progress: Progress): Promise<PushOutcome> {
    this.#hasEnded = true;
    try {
      await this.#context.endPreview({ branchRef: ref, hadBranch: !isZero(oldId) });
      progress.result('The preview has ended: its processes, releases, config vars and data are deleted');
      return { kind: 'live' };
    } catch (error) {
      const { reason, hint } = this.#explain(error);
      progress.warn(`${sentence(reason)}\n${hint}`);
      return { kind: 'refused', reason };
    }
  }

  #parkedPush(command: RefCommand): ParkedPush {
    const commit = commitId(command.newId);
    if (commit === null) throw new Error(`a deploy command without a commit: ${command.newId}`);
    return {
      id: this.id,
      tool: this.#context.tool,
      commit,
      oldCommit: commitId(command.oldId),
      principal: this.#context.principal,
      message: this.#options.message,
      useCache: this.#options.useCache,
      withUpdates: this.#updatesAtVerdict(),
      branchRef: command.ref,
      isArchive: this.#context.isArchive,
    };
  }

  async #submit(
    command: RefCommand,
  ): Promise<{ ticket: Ticket | null; outcome: Promise<PushOutcome>; refusal: string | null }> {
    const push = this.#parkedPush(command);
    try {
      const ticket = await this.#context.submit(push);
      return { ticket, outcome: this.#outcomeOf(ticket), refusal: null };
    } catch (error) {
      const { reason, hint } = this.#explain(error);
      const refusal = `${sentence(reason)}\n${hint}\n${sentence(this.#context.whatIsLive())}`;
      return { ticket: null, outcome: Promise.resolve({ kind: 'refused', reason }), refusal };
    }
  }

  async #outcomeOf(ticket: Ticket): Promise<PushOutcome> {
    if (this.#options.isDetached) return { kind: 'detached', id: ticket.id };
    const verdict = await ticket.verdict;
    return verdict.isLive ? { kind: 'live' } : { kind: 'refused', reason: verdict.reason };
  }

  #explain(error: unknown): { reason: string; hint: string } {
    if (error instanceof DeployError) return { reason: error.message, hint: error.hint };
    const id = randomUUID();
    this.#context.log.error({ err: error, id, tool: this.#context.tool }, 'push failed');
    return {
      reason: `${faultOf(error)} (${id})`,
      hint: 'Push again; if the push fails again, tell the operators this id.',
    };
  }

  #has(capability: string): boolean {
    return this.#list !== null && hasCapability(this.#list, capability);
  }

  /**
   * True if this is an atomic push that deploys. Its tags then also stay under temporary refs until the deployment
   * ends.
   */
  #isParkingAll(): boolean {
    return this.#has('atomic') && this.#fates.some((fate) => fate.kind === 'deploy');
  }

  #parkedAs(fate: Fate, index: number): string | null {
    if (fate.kind === 'deploy') return parkedRef(this.id);
    return fate.kind === 'store' && this.#isParkingAll() ? `${parkedFolder(this.id)}/${index}` : null;
  }

  #updatesAtVerdict(): string[] {
    return this.#fates.flatMap((fate, index) => {
      const parked = this.#parkedAs(fate, index);
      if (fate.kind !== 'store' || parked === null) return [];
      const { ref, newId, oldId } = fate.command;
      return [`update ${ref} ${newId} ${oldId}`, `delete ${parked} ${newId}`];
    });
  }

  #decide(list: CommandList): Rewritten {
    this.#list = list;
    if (list.commands.length === 0 && list.isCut !== true) return encodeCommandList(list);
    this.#fatal = this.#context.lostRight();
    if (list.commands.length === 0) this.#fatal ??= refusalOfAll(list, this.#context);
    if (this.#fatal !== null) return null;
    if (!this.#has('report-status') && !this.#has('report-status-v2')) {
      this.#fatal = 'this client does not read the report of a push (report-status): use git 1.6 or newer';
      return null;
    }
    const { deployBranch, hasDeployBranch, mostTags, mostParked, previewRefusal } = this.#context;
    const options = readPushOptions(list.pushOptions);
    const refusal = typeof options === 'string' ? options : refusalOfAll(list, this.#context);
    if (typeof options !== 'string') this.#options = options;
    this.#fates =
      refusal === null
        ? judgeRefs({
            ...{ list, deployBranch, hasDeployBranch, mostTags, mostParked, previewRefusal },
            isDryRun: this.#options.isDryRun,
          })
        : list.commands.map((command) => ({ kind: 'refuse', command, reason: refusal }));
    const commands = this.#fates.flatMap((fate, index) => {
      if (fate.kind === 'refuse') return [];
      const parked = this.#parkedAs(fate, index);
      return [parked === null ? fate.command : { oldId: zeroId, newId: fate.command.newId, ref: parked }];
    });
    if (commands.length === 0) return null;
    return encodeCommandList({ ...list, commands });
  }

  async #answer(gitsReport: Report | null): Promise<Answer> {
    this.#isAnswered = true;
    if (this.#fatal !== null) {
      await this.#whenClientListens();
      return { kind: 'fatal', message: this.#fatal };
    }
    if (this.#list === null || this.#list.commands.length === 0) return { kind: 'none' };
    const isAllRefused = this.#fates.every((fate) => fate.kind === 'refuse');
    if (isAllRefused) await this.#whenClientListens();
    else if (gitsReport === null || (!isWell(gitsReport) && !this.#options.isDryRun))
      this.#context.onGitRefusal();
    const ending = await this.#endWithoutBranch(gitsReport);
    const report = pushReport({
      fates: this.#fates,
      parkedAs: (fate, index) => this.#parkedAs(fate, index),
      gitsReport: isAllRefused ? { unpack: 'ok', refs: [] } : await this.#synced(this.#withLimit(gitsReport)),
      outcome: await this.#outcome,
      isAtomic: this.#has('atomic'),
      hasOptions: this.#has('report-status-v2'),
      isDryRun: this.#options.isDryRun,
    });
    this.#exitStatus = isWell(report) ? 0 : 1;
    this.#note(report);
    const progress = isAllRefused ? ` !     Nothing was deployed; ${this.#context.whatIsLive()}.\n` : ending;
    return { kind: 'report', report, progress };
  }

  /**
   * Ends a preview that has no branch, because it has not been live. git accepts the deletion of a ref that does not
   * exist, but does not run the hook post-receive for it.
   *
   * @returns the text for the client about the end of the preview.
   */
  async #endWithoutBranch(gitsReport: Report | null): Promise<string> {
    const ended = this.#fates.find(({ kind, command }) => kind === 'end-preview' && isZero(command.oldId));
    const isAccepted = gitsReport?.refs.some(
      ({ ref, reason }) => ref === ended?.command.ref && reason === null,
    );
    // If the preview went live during this push, it had a branch. Then do nothing more, because the hook has already
    // ended the preview.
    if (ended === undefined || isAccepted !== true || this.#hasEnded) return '';
    const { isColoured } = this.#options;
    let told = '';
    const say = progressTo((text) => {
      told += paint(text, isColoured);
    });
    this.#outcome = this.#endPreview(ended.command, say);
    await this.#outcome;
    return told;
  }

  /**
   * Writes the old id, the new id and the refusal of each of the first `MAX_NOTED` refs to the audit log, but of at
   * most `MAX_REFUSALS_NOTED` refused refs. Of all others, writes only their number. The two ids show whether a push
   * was forced.
   */
  #note({ unpack, refs }: Report): void {
    const { audit, principal, tool, id } = this.#context;
    const told = new Map(refs.map((line) => [line.ref, line.reason]));
    let refusals = 0;
    const updates = this.#fates.slice(0, MAX_NOTED).flatMap(({ command: { ref, oldId, newId } }) => {
      const reason = told.get(ref);
      const refused = reason === undefined ? unpack : reason;
      if (refused !== null) refusals += 1;
      return refused !== null && refusals > MAX_REFUSALS_NOTED
        ? []
        : [{ ref, old: oldId, new: newId, refused }];
    });
    const more = this.#fates.length - updates.length;
    const facts = {
      ...(this.#options.isDryRun ? { dryRun: true } : { deployment: id }),
      updates,
      ...(more === 0 ? {} : { more }),
    };
    audit({ what: 'push', who: principal, tool, facts });
  }

  /**
   * Over HTTP, waits until the whole request has arrived, because a client does not read an answer that comes earlier.
   */
  async #whenClientListens(): Promise<void> {
    if (!this.#context.hasAdvertisement) await this.#bodyEnd;
  }

  /** Syncs the tags that git has moved. Returns the report, or a refusal if the sync fails. */
  async #synced(report: Report): Promise<Report> {
    const moved = report.refs.flatMap(({ ref, reason }) => (reason === null ? [ref] : []));
    try {
      await syncTags(this.#context.folder, moved);
      return report;
    } catch (error) {
      return { unpack: this.#explain(error).reason, refs: [] };
    }
  }

  /**
   * Returns git's report, or a refusal if git made none. If the push was too large, names the limit `pack_size` instead
   * of git's "abnormal exit".
   */
  #withLimit(report: Report | null): Report {
    if (report === null) return { unpack: 'git ended without an answer; push again', refs: [] };
    if (report.unpack === 'ok' || this.incoming.passedBytes <= this.#context.maxPackBytes) return report;
    return {
      ...report,
      unpack: `the push is larger than ${mebibytes(this.#context.maxPackBytes)}, the limit for one push (pack_size); leave large files out of the history`,
    };
  }
}

/** True if the report has no refusal: the pack was accepted, and no ref was refused. */
function isWell({ unpack, refs }: Report): boolean {
  return unpack === 'ok' && refs.every(({ reason }) => reason === null);
}
