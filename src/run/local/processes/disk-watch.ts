import { setTimeout as wait } from 'node:timers/promises';
import type { DiskRoom } from '../../../core/disk/disk-space.ts';
import type { Log } from '../../../core/log/log.ts';
import { DiskPace, type LookCause, LowDisk } from '../../../sandbox/disk/disk-pace.ts';
import { type DiskLimits, type DiskUse, Misses, usesOf } from '../../../sandbox/disk/disk-use.ts';
import { foldersWithSecrets, HiddenUse, MAX_DESCRIPTORS } from '../../../sandbox/disk/hidden-disk-use.ts';
import { useWhileStopped } from '../../../sandbox/disk/stopped-disk-use.ts';
import { lastOfLarge } from '../../../sandbox/process/last-of-large.ts';
import { watchPauseMs } from '../../../sandbox/process/watch-pause.ts';
import type { DiskEnd } from '../../../sandbox/sandbox.ts';

export interface DiskWatchOptions {
  /** The limits of the disk use of each process. */
  readonly limits: DiskLimits;
  readonly room: DiskRoom;
  /**
   * The store gives each tool and each preview a number. For the number of a preview, this function returns the number
   * of its tool. It returns every other number unchanged.
   */
  readonly shareOf: (toolNumber: number) => number;
  readonly log: Log;
}

/**
 * The processes of one tool may have at most this part of all files and of all bytes that the file system can hold. One
 * process alone may always have as many bytes as its own limit says.
 */
const MAX_PART = 0.25;
/**
 * The folder of a process grows fast if it has gained more than this many files or bytes since an earlier check
 * (`Watched.before`). If that check was more than `GROWN_MS` milliseconds ago, the folder must have gained more than
 * this on average in each `GROWN_MS` since then.
 */
const [GROWN_ENTRIES, GROWN_BYTES, GROWN_MS] = [500, 8 * 1024 * 1024, 2000];
/**
 * After the server has ended a process to make room on a nearly full disk, it waits this many milliseconds before it
 * stops sandboxes to measure them, or ends a process whose large folder grows slowly. It does not wait if it has done
 * neither for three times as long.
 */
const SLOW_MS = 10_000;
/**
 * The shortest time between two searches for processes that may hide deleted files from this server, in milliseconds.
 */
const SECRETS_MS = 2000;
/**
 * If the disk has lost more free bytes than the measured folders have gained (`#lostBytes`), processes may hide files.
 * If the difference is more than this part of the disk, and more than `run_disk`, the server stops the sandboxes of all
 * running processes for a moment and measures their folders. Builds make the difference larger too, so with a smaller
 * part the server would stop tools often.
 */
const MAX_LOST_PART = 0.1;
/**
 * If the disk is nearly full, and the server has stopped sandboxes to measure them but found no process to end, it
 * stops them again at the earliest after this many milliseconds. It does not wait if a large folder grows slowly,
 * because it can then always end a process.
 */
const STOPPED_MS = 30_000;
/**
 * If the server has stopped all sandboxes for a moment because the disk lost free bytes (see `MAX_LOST_PART`), it does
 * so for this reason again at the earliest after this many milliseconds.
 */
const LOST_MS = 10 * 60_000;
/**
 * The pause after a check of the disk use lasts at least this many times as long as the processor time of the check,
 * unless the disk fills quickly or is nearly full, or the check could not measure a folder.
 */
const REST = 19;
/**
 * At least this part of the time that a check of the disk use takes counts as processor time, because the check may
 * have read from the disk. A larger part would let a program make the pauses between checks long: by moving folders,
 * the program makes each check wait.
 */
const WAITING_PART = 0.15;

/** The pause after a check of the disk use that failed, in milliseconds. */
const RETRY_MS = 2000;

/** The folder that one process writes to. */
export interface WatchedFolder {
  readonly folder: string;
  readonly toolNumber: number;
}

interface Watched extends WatchedFolder {
  readonly onOver: (end: DiskEnd) => void;
  /** The disk use that the last check of the folder measured. */
  use: DiskUse;
  /** When the server began to watch the folder, by `performance.now()`. */
  readonly startedAt: number;
  /**
   * For bytes and for entries: an earlier value, with which the next check compares the value that it measures. A check
   * replaces the earlier value by its own if the earlier value is at least `GROWN_MS` milliseconds old.
   */
  readonly before: Record<keyof DiskUse, Sample>;
  grew: 'fast' | 'slowly' | 'not';
  readonly misses: Misses;
  /** True if the last check of the disk use could not measure the folder. */
  isMissed: boolean;
}

/** A tool with processes that hide much disk use from the usual checks, as `#hidingTools` finds it. */
interface HidingTool {
  readonly hiding: readonly { readonly watched: Watched; readonly used: number }[];
  /** The disk use of the processes in `hiding` that the usual checks have missed. */
  readonly hidden: number;
  /** The disk use of all processes of the tool. */
  readonly used: number;
}

interface Sample {
  readonly value: number;
  /** When the value was measured, as `performance.now()` gave it. */
  readonly at: number;
}

/**
 * Measures the bytes and files in the folders of all running processes at intervals, and more often while the disk
 * fills quickly. Deleted files count if a process in a sandbox still holds them open. Ends processes that exceed a
 * limit. If the disk is nearly full, ends a process that fills it (`#makeRoom`).
 */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  readonly #watched = new Map<string, Watched>();
  #isLooking = false;
  #endedAt = Number.NEGATIVE_INFINITY;
  readonly #hidden = new HiddenUse();
  #secretive: ReadonlySet<string> = new Set();
  #nextSearchAt = 0;
  #nextStopAt = 0;
  #isStopping = false;
  #nextLostAt = 0;
  /**
   * The free bytes of the disk (`free`) and the sum of the bytes in the watched folders (`used`), as a check measured
   * them. `#lostBytes` compares later checks with these. Null if there is no such measurement.
   */
  #known: { readonly free: number; readonly used: number } | null = null;
  #slowTurnAt = Number.NEGATIVE_INFINITY;
  /**
   * Since when (`performance.now()`) each search has found processes that may hide deleted files, but never one that
   * the search before had found too. Null if the newest search found no such process, or found one for the second time.
   */
  #suspectSince: number | null = null;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /**
   * Watches the folder of a process. Calls `onOver` once if the process must end for one of these reasons: its folder,
   * or all folders of its tool together, exceed a limit; its sandbox has too many open or mapped files to search for
   * deleted ones; it moves its files all the time; the disk is nearly full. Disposing the result ends the watch.
   */
  watch(place: WatchedFolder, onOver: (end: DiskEnd) => void): Disposable {
    const use = { bytes: 0, entries: 0 };
    const toolNumber = this.#options.shareOf(place.toolNumber);
    const startedAt = performance.now();
    const nothing: Sample = { value: 0, at: startedAt };
    const before = { bytes: nothing, entries: nothing };
    const watched = { ...place, toolNumber, onOver, use, startedAt, before, misses: new Misses() };
    this.#watched.set(place.folder, { ...watched, grew: 'not', isMissed: false });
    if (!this.#isLooking) void this.#look();
    return { [Symbol.dispose]: () => void this.#watched.delete(place.folder) };
  }

  async #look(): Promise<void> {
    const { room, log } = this.#options;
    this.#isLooking = true;
    const pauseMs = (): number => watchPauseMs([...this.#watched.values()].map(({ startedAt }) => startedAt));
    // To measure a folder, the server looks at each of its files. This takes at most a twentieth of a processor, or
    // more if the disk fills quickly or is nearly full.
    const pace = new DiskPace({ room, pauseMs, rest: REST });
    let costMs = 0;
    while (this.#watched.size > 0) {
      try {
        const space = await pace.next(costMs);
        // Choose the process to end by what the last check of the disk use found, because the next check takes long if
        // there are many files.
        if (space.low !== null) this.#makeRoom(space.low, space.lowMs);
        costMs = this.#hasLimits || space.low !== null ? await this.#weigh(space.cause) : 0;
        const { limits } = this.#options;
        if (limits.entries > 0) this.#keepShares('entries', space.entries * MAX_PART);
        const mostOfTool = Math.max(limits.bytes, space.bytes * MAX_PART);
        if (limits.bytes > 0) this.#keepShares('bytes', mostOfTool);
        const mostLost = Math.max(limits.bytes, space.bytes * MAX_LOST_PART);
        if (limits.bytes > 0 && this.#lostBytes(space.freeBytes) > mostLost) void this.#endHiding(mostOfTool);
      } catch (error) {
        // Log nothing if the last process has ended: measuring then fails because its folder no longer exists.
        if (this.#watched.size > 0) log.error({ err: error }, 'cannot measure the disk use of processes');
        // Pause before the next check, because it may fail in the same way.
        await wait(RETRY_MS, null, { ref: false });
        costMs = 0;
      }
    }
    this.#isLooking = false;
  }

  get #hasLimits(): boolean {
    const { bytes, entries } = this.#options.limits;
    return bytes > 0 || entries > 0;
  }

  /**
   * Measures all watched folders: only their bytes or only their entries (inodes) if `cause` names one of these. Ends
   * processes that exceed a limit or that prevent the measurement.
   *
   * @returns the cost of this check in milliseconds, which decides how long the pause after the check is. If a folder
   * could not be measured, returns much less than the cost, so that the next check comes soon.
   */
  async #weigh(cause: LookCause): Promise<number> {
    const folders = [...this.#watched.keys()];
    const startedAt = performance.now();
    using low = new LowDisk(this.#options.room);
    const signals = { signal: NEVER, low: low.signal };
    const { bytes, entries, processorMs } = await usesOf(folders, cause, signals);
    const costMs = Math.max(processorMs, (performance.now() - startedAt) * WAITING_PART);
    // In the background, measure deleted files that are still open. This is slow if a process has many open files, so
    // the next check adds the result.
    void this.#hidden.look(folders, cause);
    let wasMissed = false;
    for (const watched of this.#watched.values()) {
      const { folder, use } = watched;
      const hidden = this.#hidden.of(folder);
      const named = { bytes: bytes?.get(folder), entries: entries?.get(folder) };
      const now = {
        bytes: named.bytes === undefined ? use.bytes : named.bytes + hidden.bytes,
        entries: named.entries === undefined ? use.entries : named.entries + hidden.entries,
      };
      watched.grew = growth(watched.before, now, startedAt);
      for (const measure of ['bytes', 'entries'] as const)
        if (named[measure] !== undefined && startedAt - watched.before[measure].at >= GROWN_MS)
          watched.before[measure] = { value: now[measure], at: startedAt };
      watched.use = now;
      const isMissed =
        (bytes?.has(folder) === false || entries?.has(folder) === false) && folders.includes(folder);
      wasMissed ||= isMissed;
      watched.isMissed = isMissed;
      const end: DiskEnd | null = watched.misses.add(isMissed)
        ? { kind: 'moving' }
        : this.#hidden.isCrowded(folder)
          ? { kind: 'open-files', limit: MAX_DESCRIPTORS }
          : this.#passed(now);
      if (end !== null) this.#end(watched, end);
    }
    return wasMissed ? costMs / REST : costMs;
  }

  /**
   * Returns how many free bytes the disk has lost since `#known`, less the bytes that the watched folders have gained.
   * Something else has used these bytes, such as builds, or a process that hides its files from the checks by moving
   * them all the time. If the result is less than 0, or if there is no `#known` yet, the present values become
   * `#known`.
   */
  #lostBytes(free: number): number {
    const used = [...this.#watched.values()].reduce((sum, { use }) => sum + use.bytes, 0);
    const lost = this.#known === null ? -1 : this.#known.free - free - (used - this.#known.used);
    if (lost < 0) this.#known = { free, used };
    return lost;
  }

  /**
   * Measures all folders while their sandboxes are stopped, at most once in `LOST_MS`. Of the processes that hide many
   * bytes, ends those that exceed the limit of bytes. If all processes of a tool together have more than `most` bytes,
   * ends all of its processes that hide many bytes.
   */
  async #endHiding(most: number): Promise<void> {
    if (this.#isStopping || performance.now() < this.#nextLostAt) return;
    this.#nextLostAt = performance.now() + LOST_MS;
    this.#known = null;
    const { bytes: limit } = this.#options.limits;
    for (const tool of await this.#hidingTools('bytes'))
      for (const { watched, used } of tool.hiding)
        if (used > limit) this.#end(watched, { kind: 'bytes', limit });
        else if (tool.used > most) this.#end(watched, { kind: 'bytes-of-tool', limit: Math.floor(most) });
  }

  #passed({ bytes, entries }: DiskUse): DiskEnd | null {
    const { limits } = this.#options;
    if (limits.bytes > 0 && bytes > limits.bytes) return { kind: 'bytes', limit: limits.bytes };
    if (limits.entries > 0 && entries > limits.entries) return { kind: 'entries', limit: limits.entries };
    return null;
  }

  /**
   * Limits the files or bytes of each tool. If the processes of a tool have more than `most`, ends those whose folders
   * grow fast. If no folder grows fast, ends one process that `lastOfLarge` chooses: from those whose folders grow
   * slowly, or else from all. So if a new release writes much, its processes usually end, and not those of the live
   * release.
   */
  #keepShares(measure: 'bytes' | 'entries', most: number): void {
    const tools = Map.groupBy(this.#watched.values(), ({ toolNumber }) => toolNumber);
    for (const ofTool of tools.values()) {
      const sum = ofTool.reduce((all, { use }) => all + use[measure], 0);
      if (sum <= most) continue;
      const [fast, slow] = (['fast', 'slowly'] as const).map((how) =>
        ofTool.filter(({ grew }) => grew === how),
      );
      const one = lastOfLarge(slow?.length ? slow : ofTool, ({ use }) => use[measure]);
      for (const watched of fast?.length ? fast : one === null ? [] : [one])
        this.#end(watched, { kind: `${measure}-of-tool`, limit: Math.floor(most) });
    }
  }

  /**
   * Makes room on a disk that has been nearly full for `lowMs` milliseconds: ends the process with the largest folder
   * that grows fast. If no folder grows fast, ends processes whose folders the last check could not measure
   * (`#missed`). If there are none, ends processes that may hide deleted files from this server (`#endSecretive`).
   */
  #makeRoom(measure: 'bytes' | 'entries', lowMs: number): void {
    const [largest] = this.#growing('fast', measure);
    const ended = largest === undefined ? this.#missed() : [largest];
    if (ended.length > 0) this.#endForRoom(ended);
    else void this.#endSecretive(measure, lowMs);
  }

  /**
   * Searches for processes that may hide deleted files from this server, and ends those of one tool that the previous
   * search found too. If there are none, ends processes that hide files from searches too (`#endMoving`). But first it
   * waits, as `SLOW_MS` says, if it has just ended a process to make room, and up to `SLOW_MS` if the next search may
   * find the same processes again.
   */
  async #endSecretive(measure: 'bytes' | 'entries', lowMs: number): Promise<void> {
    if (performance.now() < this.#nextSearchAt) return;
    this.#nextSearchAt = Infinity;
    const found = await foldersWithSecrets([...this.#watched.keys()]).catch(() => new Set<string>());
    const again = found.intersection(this.#secretive);
    const secretive = ofOneTool([...this.#watched.values()].filter(({ folder }) => again.has(folder)));
    this.#secretive = found;
    this.#nextSearchAt = performance.now() + SECRETS_MS;
    const now = performance.now();
    this.#suspectSince = found.size === 0 || secretive.length > 0 ? null : (this.#suspectSince ?? now);
    if (secretive.length > 0) return this.#endForRoom(secretive);
    // End no process yet, because the next search may find the same process again, and then end it. But do not wait
    // longer than `SLOW_MS`: processes that take turns in hiding files, or that are ended again and again, must not
    // protect slowly growing folders.
    if (now - (this.#suspectSince ?? Number.NEGATIVE_INFINITY) < SLOW_MS) return;
    if (now - this.#endedAt < SLOW_MS && now - this.#slowTurnAt < 3 * SLOW_MS) return;
    await this.#endMoving(measure, lowMs);
  }

  /**
   * Makes room on a disk that has been nearly full for `lowMs` milliseconds. Finds the tool with the most bytes or
   * files (`measure`) that earlier checks missed, for example because it moves its files all the time, and ends the
   * processes of this tool that hide much. If no tool hides much, or if `lowMs` is at least `3 * SLOW_MS`, also ends
   * one process whose large folder grows slowly, such as one that writes a log: the process with the largest of these
   * folders.
   */
  async #endMoving(measure: 'bytes' | 'entries', lowMs: number): Promise<void> {
    const slow = this.#growing('slowly', measure)
      .filter(({ use }) => isMuch(use))
      .slice(0, 1);
    // Measure first, because another process may hide the files that fill the disk. Then the process whose folder grows
    // slowly must not be ended.
    if (this.#isStopping || (slow.length === 0 && performance.now() < this.#nextStopAt)) return;
    this.#slowTurnAt = performance.now();
    const [most] = await this.#hidingTools(measure);
    const hiding = (most?.hiding ?? []).map(({ watched }) => watched);
    // If the disk is nearly full all the time although processes that hide files were ended, the slowly growing folders
    // fill it too.
    const ended = hiding.length === 0 || lowMs >= 3 * SLOW_MS ? [...hiding, ...slow] : hiding;
    if (ended.length === 0) this.#nextStopAt = performance.now() + STOPPED_MS;
    this.#endForRoom(ended);
  }

  /**
   * Stops each sandbox for a moment, and measures meanwhile how much disk its process uses.
   *
   * @returns the tools with much disk use that the other checks have missed. The one that hides most comes first.
   */
  async #hidingTools(measure: 'bytes' | 'entries'): Promise<HidingTool[]> {
    this.#isStopping = true;
    // The last check may have measured only bytes or only files, whichever the disk lacks. So compare only `measure`.
    // Copy its values before the sandboxes stop, because checks that run meanwhile may see the hidden files of stopped
    // sandboxes.
    const known = [...this.#watched.values()].map((watched) => ({ watched, known: watched.use[measure] }));
    const uses = await useWhileStopped([...this.#watched.keys()]).catch(() => new Map<string, DiskUse>());
    this.#isStopping = false;
    const all = known.map((one) => {
      const used = uses.get(one.watched.folder)?.[measure] ?? one.known;
      return { ...one, used, hidden: used - one.known };
    });
    const isMuchHidden = (hidden: number): boolean => isMuch({ bytes: 0, entries: 0, [measure]: hidden });
    const tools = Map.groupBy(all, ({ watched }) => watched.toolNumber)
      .values()
      .map((ofTool) => {
        // Leave out the processes of this tool that hide little. Even together, they do not hide much.
        const hiding = ofTool.filter(({ hidden }) => isMuchHidden(hidden * ofTool.length));
        const hidden = hiding.reduce((sum, one) => sum + one.hidden, 0);
        return { hiding, hidden, used: ofTool.reduce((sum, { used }) => sum + used, 0) };
      });
    return [...tools].filter(({ hidden }) => isMuchHidden(hidden)).sort((a, b) => b.hidden - a.hidden);
  }

  /**
   * Returns processes whose folders the last check could not measure: those of the one tool that has the most of them.
   * If the check has missed folders of more than half of the tools, perhaps because the machine is slow, returns only
   * the one of these processes that started last.
   */
  #missed(): readonly Watched[] {
    const all = [...this.#watched.values()].sort((a, b) => b.startedAt - a.startedAt);
    const missed = all.filter(({ isMissed }) => isMissed);
    const tools = (of: readonly Watched[]) => new Set(of.map(({ toolNumber }) => toolNumber)).size;
    return tools(missed) * 2 > tools(all) ? missed.slice(0, 1) : ofOneTool(missed);
  }

  #growing(how: Watched['grew'], measure: 'bytes' | 'entries'): Watched[] {
    return [...this.#watched.values()].filter(({ grew }) => grew === how).sort(byUse(measure));
  }

  #endForRoom(all: readonly Watched[]): void {
    if (all.length > 0) this.#endedAt = performance.now();
    for (const watched of all) this.#end(watched, { kind: 'room' });
  }

  #end(watched: Watched, end: DiskEnd): void {
    if (this.#watched.delete(watched.folder)) watched.onOver(end);
  }
}

function growth(before: Watched['before'], now: DiskUse, at: number): Watched['grew'] {
  const grown = (measure: keyof DiskUse): number => {
    const spans = Math.max(1, (at - before[measure].at) / GROWN_MS);
    return (now[measure] - before[measure].value) / spans;
  };
  const [bytes, entries] = [grown('bytes'), grown('entries')];
  if (isMuch({ bytes, entries })) return 'fast';
  return bytes > 0 || entries > 0 ? 'slowly' : 'not';
}

function isMuch({ bytes, entries }: DiskUse): boolean {
  return entries > GROWN_ENTRIES || bytes > GROWN_BYTES;
}

/** Returns the processes of the tool that has the most processes in `all`. */
function ofOneTool(all: readonly Watched[]): readonly Watched[] {
  const tools = Map.groupBy(all, ({ toolNumber }) => toolNumber);
  return [...tools.values()].sort((a, b) => b.length - a.length)[0] ?? [];
}

/** Returns a comparison that sorts the largest folder first. */
function byUse(measure: 'bytes' | 'entries') {
  return (a: Watched, b: Watched) => b.use[measure] - a.use[measure];
}

const NEVER = new AbortController().signal;
