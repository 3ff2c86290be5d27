import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { lastOfLarge } from './last-of-large.ts';
import { outputOfShell } from './shell.ts';
import { watchPauseMs } from './watch-pause.ts';

/** The interval at which the free memory of the machine is read. Reading it costs almost nothing. */
const TICK_MS = 100;
/**
 * If the free memory fell by more than this, or by more than a quarter, since the last look at the processes, the next
 * look comes earlier.
 */
const FAST_BYTES = 256 * 1024 * 1024;
/**
 * The pause after a look at the processes is at least `REST` times as long as that look, or `SHORT_REST` times if the
 * free memory falls quickly.
 */
const [REST, SHORT_REST] = [19, 4];
/** How many calls of `exactUse`, which measures one sandbox exactly, run at the same time. */
const AT_ONCE = 8;
/**
 * A look at the processes waits at most this many milliseconds for the results of `exactUse`. A tool can make the
 * result for its own processes take many seconds, and the results for other tools must not wait for that.
 */
const EXACT_MS = 1000;
/**
 * All processes of one tool together may have this part of the machine's memory, or as much as one of them may have
 * alone if that is more.
 */
const PART_OF_MACHINE = 1 / 2;

interface Watched {
  readonly limitBytes: number;
  readonly toolNumber: number;
  readonly onOver: (isForTool: boolean) => void;
  readonly startedAt: number;
  /**
   * How many bytes of shared memory the whole machine had when this was first read after the start of the sandbox. Null
   * before that.
   */
  sharedAtStart: number | null;
  /**
   * True if, at the last measurement by `exactUse`, a socket of the sandbox may have held files in memory that no
   * process had received from it. The size of such files cannot be read.
   */
  isHiding: boolean;
  /** True while `exactUse` measures this sandbox, or while this sandbox waits for its turn to be measured. */
  isBeingSummed: boolean;
  /** The memory of the sandbox at the last look, in bytes, without shared memory. Null before the first look. */
  bytes: number | null;
  /**
   * The newest result of `exactUse` for this sandbox, in bytes. A look sets this to 0 if all processes of the tool
   * together are surely below their limit.
   */
  exactBytes: number;
}

export interface MemoryLimits {
  readonly limitBytes: number;
  /** The number of the tool. All processes of the tool together have a limit too. */
  readonly toolNumber: number;
}

/**
 * Limits the memory of sandboxes if control groups do not. Memory that several processes share counts once, and so do
 * files in memory (`memfd_create`) that a process holds open or runs as its program.
 */
export class MemoryWatch {
  readonly #watched = new Map<number, Watched>();
  readonly #sums = new ConcurrencyLimit(AT_ONCE);
  readonly #partOfMachine: number;
  #isLooking = false;

  constructor(partOfMachine: number = PART_OF_MACHINE) {
    this.#partOfMachine = partOfMachine;
  }

  /**
   * Calls `onOver` once if the descendants of a process together use more memory than `limitBytes`. Also calls it if
   * all processes of the tool use more memory than one tool may have, and `lastOfLarge` chooses these descendants to
   * end. Disposing the result ends the watch.
   */
  watch(
    pid: number,
    { limitBytes, toolNumber }: MemoryLimits,
    onOver: (isForTool: boolean) => void,
  ): Disposable {
    const startedAt = performance.now();
    this.#watched.set(pid, {
      limitBytes,
      toolNumber,
      onOver,
      startedAt,
      sharedAtStart: null,
      isHiding: false,
      isBeingSummed: false,
      bytes: null,
      exactBytes: 0,
    });
    if (!this.#isLooking) void this.#look();
    return { [Symbol.dispose]: () => void this.#watched.delete(pid) };
  }

  /**
   * How many bytes of memory the descendants of a watched process had at the last look, usually at most ten seconds
   * ago. Memory that several processes share does not count. Null before the first look.
   */
  bytesOf(pid: number): number | null {
    return this.#watched.get(pid)?.bytes ?? null;
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    let [most, tookMs, endedAt] = [0, 0, performance.now()];
    while (this.#watched.size > 0) {
      await wait(TICK_MS, null, { ref: false });
      const { totalBytes, availableBytes, sharedBytes } = await memoryOfMachine();
      for (const watched of this.#watched.values()) watched.sharedAtStart ??= sharedBytes;
      most = Math.max(most, availableBytes);
      const startedAt = performance.now();
      const restedMs = startedAt - endedAt;
      const isFast = most - availableBytes > Math.min(FAST_BYTES, most / 4) && restedMs > SHORT_REST * tookMs;
      const pauseMs = watchPauseMs([...this.#watched.values()].map((watched) => watched.startedAt));
      if (!isFast && restedMs < Math.max(pauseMs, REST * tookMs)) continue;
      await this.#weigh({ totalBytes, sharedBytes });
      most = availableBytes;
      endedAt = performance.now();
      tookMs = endedAt - startedAt;
    }
    this.#isLooking = false;
  }

  async #weigh(machine: Machine): Promise<void> {
    const all = await processes();
    if (all === null) return;
    const children = Map.groupBy(all, ({ parent }) => parent);
    const families = [...this.#watched].map(([pid, watched]) => {
      const family = descendants(pid, children);
      watched.bytes = family.reduce((total, { bytes }) => total + bytes, 0);
      return { pid, watched, family, bytes: watched.bytes };
    });
    const sums: Promise<void>[] = [];
    for (const ofTool of Map.groupBy(families, ({ watched }) => watched.toolNumber).values()) {
      const bytesOfTool = ofTool.reduce((total, { bytes }) => total + bytes, 0);
      const most = this.#mostOf(
        ofTool.map(({ watched }) => watched),
        machine,
      );
      // Add all shared memory of the machine, because nobody knows yet how much of it belongs to this tool. The sum may
      // be too high, but never too low. `exactUse` would find the right sum, but takes longer.
      const isLarge = bytesOfTool + machine.sharedBytes > most;
      for (const { pid, watched, family, bytes } of ofTool) {
        // If all processes of the tool together are surely below their limit, forget the last result of `exactUse`.
        // This old result must not count later, when the tool uses more memory.
        if (!isLarge) watched.exactBytes = 0;
        const isOwnSmall = bytes + machine.sharedBytes <= watched.limitBytes;
        if ((isOwnSmall && !isLarge) || watched.isBeingSummed) continue;
        watched.isBeingSummed = true;
        sums.push(this.#sums.run(() => this.#sum(pid, family, machine)));
      }
    }
    await Promise.race([Promise.all(sums), wait(EXACT_MS, null, { ref: false })]);
  }

  async #sum(pid: number, family: readonly ProcessMemory[], machine: Machine): Promise<void> {
    const watched = this.#watched.get(pid);
    if (watched === undefined) return;
    const { limitBytes, sharedAtStart } = watched;
    const { sharedBytes } = machine;
    // Honest programs keep files in the queue of a socket only for a moment. If two measurements in a row find such
    // files, all shared memory that this machine has gained since the start of the sandbox counts as memory of the
    // sandbox.
    const hiddenBytes = watched.isHiding ? sharedBytes - (sharedAtStart ?? sharedBytes) : 0;
    const use = await exactUse(family, { sharedBytes, hiddenBytes });
    watched.isBeingSummed = false;
    if (use === null) return;
    watched.isHiding = use.isHiding;
    watched.exactBytes = use.bytes;
    if (this.#watched.get(pid) !== watched) return;
    if (use.bytes > limitBytes) this.#end(pid, watched, false);
    else this.#keepShare(watched.toolNumber, machine);
  }

  /**
   * If the processes of a tool together use more memory than one tool may have, ends the processes of the sandbox that
   * `lastOfLarge` chooses.
   */
  #keepShare(toolNumber: number, machine: Machine): void {
    const ofTool = [...this.#watched].filter(([, watched]) => watched.toolNumber === toolNumber);
    const all = ofTool.map(([, watched]) => watched);
    if (all.reduce((sum, { exactBytes }) => sum + exactBytes, 0) <= this.#mostOf(all, machine)) return;
    const ended = lastOfLarge(all, ({ exactBytes }) => exactBytes);
    for (const [pid, watched] of ofTool) if (watched === ended) this.#end(pid, watched, true);
  }

  /** Returns how many bytes of memory the processes of one tool together may use. */
  #mostOf(ofTool: readonly Watched[], { totalBytes }: Machine): number {
    return Math.max(totalBytes * this.#partOfMachine, ...ofTool.map(({ limitBytes }) => limitBytes));
  }

  #end(pid: number, watched: Watched, isForTool: boolean): void {
    this.#watched.delete(pid);
    watched.onOver(isForTool);
  }
}

/** In a container, one of these files has the limit of its memory. /proc/meminfo shows the memory of the host. */
const OF_CONTAINER = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'];

interface Machine {
  readonly totalBytes: number;
  readonly sharedBytes: number;
}

/**
 * Returns the memory of this machine, or of its container if that has less; the free memory with free swap space; and
 * the shared memory. If /proc cannot be read, because no file descriptor is left, the memory counts as unlimited, and
 * the other two as 0.
 */
async function memoryOfMachine(): Promise<Machine & { readonly availableBytes: number }> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '');
  const bytes = (name: string) => 1024 * Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  const limits = await Promise.all(OF_CONTAINER.map((file) => readFile(file, 'utf8').catch(() => '')));
  return {
    totalBytes: Math.min(
      bytes('MemTotal') || Number.POSITIVE_INFINITY,
      ...limits.map((limit) => Number.parseInt(limit, 10) || Number.POSITIVE_INFINITY),
    ),
    availableBytes: bytes('MemAvailable') + bytes('SwapFree'),
    sharedBytes: bytes('Shmem'),
  };
}

interface ProcessMemory {
  readonly pid: number;
  readonly parent: number;
  /** The memory of the process, without shared memory and mapped files. */
  readonly bytes: number;
}

// If the first thread of a process has ended, /proc/PID/status no longer has the memory of the process, but
// /proc/THREAD/status of its other threads does. So for such a process, this script reads the file of another thread.
const PROCESSES = `leaderless=$(printf '%s\\0' /proc/[0-9]*/status | xargs -0 grep -ls '^State:.Z' | while IFS=/ read -r _ _ pid _; do
  thread=$(ls "/proc/$pid/task" 2>/dev/null | grep -vxm1 "$pid") && echo "/proc/$thread/status"
done)
printf '%s\\0' /proc/[0-9]*/status $leaderless | xargs -0 grep -hsE '^(Pid|PPid|RssAnon|VmSwap|VmPTE):' | awk '
  /^Pid:/ { if (pid) print pid, parent, bytes; pid = $2; bytes = 0 }
  /^PPid:/ { parent = $2 }
  /kB$/ { bytes += 1024 * $2 }
  END { print pid, parent, bytes }'`;

/**
 * Lists all processes of this machine. Null if the shell that reads /proc cannot be started, takes too long or is
 * killed.
 */
async function processes(): Promise<ProcessMemory[] | null> {
  const output = await outputOfShell(PROCESSES, []);
  if (output === null) return null;
  return output.split('\n').map((line) => {
    const [pid = 0, parent = 0, bytes = 0] = line.split(' ').map(Number);
    return { pid, parent, bytes };
  });
}

function descendants(pid: number, children: ReadonlyMap<number, ProcessMemory[]>): ProcessMemory[] {
  const found = [...(children.get(pid) ?? [])];
  // `found` grows during this loop, so the loop also visits the children of children.
  for (const one of found) found.push(...(children.get(one.pid) ?? []));
  return found;
}

// A script that measures the memory of a sandbox. A tool can make reading slow. If the exact memory of a process cannot
// be read in time, all its RssAnon and VmSwap count. If the files in memory cannot be found in time, all shared memory
// of this machine counts. Page tables (VmPTE) count, because a process can map a small file thousands of times. Shared
// memory counts for each process in proportion (Pss, proc_pid_smaps(5)). The same memory may also count as a file in
// memory or a segment of System V, so only the larger of the two sums counts. The arguments after the second are the
// ids of the sandbox's processes. The last process is in the IPC namespace that has the segments. That namespace
// belongs to the user namespace of the first process. Only root sees files in memory that are mapped and not open. In
// mawk, the format %d stops at 2 GiB.
const EXACT = `all=$1 hidden=$2; shift 2
each() { word=$1; shift; printf "/proc/%s/$word " "$@"; }
for last; do :; done
{ grep -HsE '^(RssAnon|VmSwap|VmPTE):' $(each status "$@")
  timeout 5 grep --line-buffered -HsE '^(Pss_Anon|SwapPss|Pss_Shmem):' $(each smaps_rollup "$@")
  { timeout 5 find $(each fd "$@") $(each map_files "$@") $(each exe "$@") -maxdepth 1 \\
      \\( -lname '/memfd:*' -o -lname '/dev/zero (deleted)' \\) -print0; [ $? = 124 ] && echo cut >&3; } |
    { timeout 5 xargs -0r stat -Lc 'file %i %b'; [ $? = 124 ] && echo cut; } | sort -u
  timeout 2 grep -rqsE '^scm_fds:[[:space:]]*[1-9]' $(each fdinfo "$@"); case $? in 0 | 124) echo hiding ;; esac
  # While a sandbox starts, it still has the namespace of this machine.
  [ "$(readlink "/proc/$last/ns/ipc")" = "$(readlink /proc/self/ns/ipc)" ] ||
    nsenter --preserve-credentials --user="/proc/$1/ns/user" --ipc="/proc/$last/ns/ipc" \\
      sed -n '2,$s/^/segment /p' /proc/sysvipc/shm
} 3>&1 2>/dev/null | awk -v all="$all" -v hidden="$hidden" '
  { split($1, part, "/"); pid = part[3] }
  /VmPTE:/ { own += $2 }
  /(RssAnon|VmSwap):/ { most[pid] += $2 }
  /(Pss_Anon|SwapPss):/ { exact[pid] += $2 }
  /Pss_Shmem:/ { shared += $2 }
  /^file/ { files += $3 / 2 }
  /^cut/ { isCut = 1 }
  /^hiding/ { isHiding = 1 }
  /^segment/ { files += ($16 + $17) / 1024 }
  END {
    if (isCut) files = all
    if (isHiding && hidden > files) files = hidden
    for (pid in most) own += pid in exact ? exact[pid] : most[pid]
    printf "%.0f%s", 1024 * (own + (shared > files ? shared : files)), isHiding ? " hiding" : ""
  }'`;

/**
 * Measures how many bytes the processes of a sandbox use together, and whether files in memory may wait in one of their
 * sockets.
 *
 * @param machine - `sharedBytes` is the shared memory of the whole machine. This memory counts in place of the files in
 * memory if the search for the files takes too long. If files may wait in a socket, they count as at least
 * `hiddenBytes`.
 * @returns null if the shell that measures could not be started, took too long or was killed.
 */
async function exactUse(
  family: readonly ProcessMemory[],
  { sharedBytes, hiddenBytes }: { readonly sharedBytes: number; readonly hiddenBytes: number },
): Promise<{ bytes: number; isHiding: boolean } | null> {
  const words = [sharedBytes / 1024, hiddenBytes / 1024, ...family.map(({ pid }) => pid)];
  const output = await outputOfShell(EXACT, words.map(String));
  if (output === null) return null;
  const [bytes, hiding] = output.split(' ');
  return { bytes: Number(bytes), isHiding: hiding !== undefined };
}
