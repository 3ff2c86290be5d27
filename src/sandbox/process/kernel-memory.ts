import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { outputOfShell } from './shell.ts';

/** The interval at which the memory and the locks of the kernel are read. Reading them costs almost nothing. */
const TICK_MS = 250;
/**
 * The next look at the sandboxes comes when the kernel uses this many bytes of memory more than its least use since the
 * last look.
 */
const GROWN_BYTES = 32 * 1024 * 1024;
/** The pause after a look at the sandboxes is at least this many times as long as the look. */
const REST = 1;
/**
 * If the server cannot read how many locks of files there are, it looks at the sandboxes from time to time. The pause
 * after a look is `PAUSE_MS`, or `PAUSE_LOOKS` times as long as the look if that is longer.
 */
const [PAUSE_MS, PAUSE_LOOKS] = [5000, 20];
/**
 * How many bytes of memory a sandbox may have for messages of netlink sockets. Honest programs have a few kilobytes.
 */
const MOST_BYTES = 32 * 1024 * 1024;
/** About what the kernel needs for one netlink socket. */
const SOCKET_BYTES = 1024;
/**
 * How many locks of files a sandbox may have. Honest programs have a few. The kernel walks all locks of a file when any
 * program closes the file. Some files, such as /dev/null, are the same in all sandboxes and for the server.
 */
const MOST_LOCKS = 2000;
/** The number of locks of files on this machine (slub in the kernel's documentation). Only root can read it. */
const LOCKS_OF_KERNEL = '/sys/kernel/slab/file_lock_cache/objects';
/**
 * How many seconds of processor time the search for locks, or for netlink sockets, may take in one sandbox. Honest
 * programs need a moment.
 */
const SEARCH_SECONDS = 5;
/**
 * How many milliseconds the server waits for the search for locks and netlink sockets in one sandbox. A tool can make
 * reading slow, because some files of /proc wait for locks of the process. A sandbox with two slow searches in a row
 * must end.
 */
const WAIT_MS = 5000;
/**
 * If it takes longer than this to list the processes, the machine is busy. Then no sandbox is blamed for a slow search.
 */
const BUSY_MS = 2000;
/** How many sandboxes are searched at the same time. */
const AT_ONCE = 8;

interface Watched {
  readonly onOver: () => void;
  /**
   * The search that runs in this sandbox, if one does. Its result is true if the sandbox has too many locks of files or
   * too much memory for netlink messages.
   */
  search: Promise<boolean> | null;
  slowInARow: number;
}

/**
 * Limits two things that use memory of the kernel and that no control group counts: the locks of files that a sandbox
 * has, and the messages that wait in its netlink sockets.
 */
export class KernelMemoryWatch {
  readonly #watched = new Map<number, Watched>();
  readonly #searches = new ConcurrencyLimit(AT_ONCE);
  #isLooking = false;

  /**
   * Calls `onOver` once if the descendants of a process together have more than `MOST_BYTES` or `MOST_LOCKS`. Disposing
   * the result ends the watch.
   */
  watch(pid: number, onOver: () => void): Disposable {
    this.#watched.set(pid, { onOver, search: null, slowInARow: 0 });
    if (!this.#isLooking) void this.#look();
    return { [Symbol.dispose]: () => void this.#watched.delete(pid) };
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    // Begin at 0, so that the first look at the sandboxes comes at once: the first sandbox may already have taken much
    // before this loop reads the memory of the kernel for the first time.
    let [leastBytes, leastLocks] = [0, 0];
    let [tookMs, endedAt] = [0, performance.now()];
    while (this.#watched.size > 0) {
      await wait(TICK_MS, null, { ref: false });
      const [bytes, locks] = await Promise.all([bytesOfKernel(), locksOfKernel()]);
      leastBytes = Math.min(leastBytes, bytes);
      leastLocks = Math.min(leastLocks, locks ?? 0);
      const startedAt = performance.now();
      const pausedMs = startedAt - endedAt;
      const hasGrown = bytes - leastBytes >= GROWN_BYTES || (locks ?? 0) - leastLocks >= MOST_LOCKS;
      const isTime = locks === null && pausedMs >= Math.max(PAUSE_MS, PAUSE_LOOKS * tookMs);
      if (!(hasGrown && pausedMs >= REST * tookMs) && !isTime) continue;
      const families = await familiesOf([...this.#watched.keys()]);
      const isBusy = performance.now() - startedAt > BUSY_MS;
      const searches = [...families].map(([pid, family]) =>
        this.#searches.run(() => this.#search(pid, family, isBusy)),
      );
      await Promise.all(searches);
      [leastBytes, leastLocks] = [bytes, locks ?? 0];
      endedAt = performance.now();
      tookMs = endedAt - startedAt;
    }
    this.#isLooking = false;
  }

  async #search(pid: number, family: readonly string[], isBusy: boolean): Promise<void> {
    const watched = this.#watched.get(pid);
    if (watched === undefined) return;
    // A search in this sandbox that an earlier look has started may still run. Then wait for that search, and start no
    // second one.
    watched.search ??= isOver(family).finally(() => {
      watched.search = null;
    });
    const found = await Promise.race([watched.search, wait(WAIT_MS, null, { ref: false })]);
    if (!isBusy) watched.slowInARow = found === null ? watched.slowInARow + 1 : 0;
    if ((found !== true && watched.slowInARow < 2) || this.#watched.get(pid) !== watched) return;
    this.#watched.delete(pid);
    watched.onOver();
  }
}

/**
 * Returns how many bytes of memory the kernel uses and cannot drop. 0 if /proc cannot be read, because no file
 * descriptor is left.
 */
async function bytesOfKernel(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '');
  const found = [...text.matchAll(/^(?:SUnreclaim|VmallocUsed): +(\d+)/gm)];
  return found.reduce((sum, [, kibibytes]) => sum + 1024 * Number(kibibytes), 0);
}

/**
 * The number of locks of files on this machine, which may be a little too high. Null if this server may not read it.
 */
async function locksOfKernel(): Promise<number | null> {
  const text = await readFile(LOCKS_OF_KERNEL, 'utf8').catch(() => '');
  return /^\d/.test(text) ? Number.parseInt(text, 10) : null;
}

// If the first thread of a process has ended, /proc/PID/fdinfo is empty, but /proc/THREAD/fdinfo of its other threads
// still lists the open files. So for such a process, this script also prints the id of another thread.
const FAMILIES = `leaderless=$(printf '%s\\0' /proc/[0-9]*/status | xargs -0 grep -ls '^State:.Z' | while IFS=/ read -r _ _ pid _; do
  thread=$(ls "/proc/$pid/task" 2>/dev/null | grep -vxm1 "$pid") && echo "/proc/$thread/status"
done)
printf '%s\\0' /proc/[0-9]*/status $leaderless | xargs -0 grep -hsE '^(Pid|PPid):' | awk -v outer="$*" '
  BEGIN { count = split(outer, list, " "); for (i = 1; i <= count; i++) isOuter[list[i]] = 1 }
  /^Pid:/ { pid = $2 }
  /^PPid:/ { parent[pid] = $2 }
  END {
    for (pid in parent) {
      for (one = parent[pid]; one in parent && !(one in isOuter); one = parent[one]);
      if (one in isOuter) family[one] = family[one] " " pid
    }
    for (one in family) print one family[one]
  }'`;

/** Returns, for each of the processes `pids`, the ids of its descendants. */
async function familiesOf(pids: readonly number[]): Promise<Map<number, string[]>> {
  const output = await outputOfShell(FAMILIES, pids.map(String));
  const lines = (output ?? '').split('\n').filter(Boolean);
  return new Map(
    lines.map((line) => {
      const [pid, ...family] = line.split(' ');
      return [Number(pid), family];
    }),
  );
}

// A script that counts the locks of files and the netlink sockets of one sandbox. `fdinfo` in /proc lists the locks of
// a process once for each descriptor of the same file, but they count once. A lock by flock(2) counts for each
// descriptor, because many descriptors of one file can have one each. Such locks stay while files wait in the queue of
// a socket (SCM_RIGHTS, unix(7)), so each of these files counts as a lock. All netlink sockets of the network namespace
// count, and also messages to the kernel, which it keeps while it answers.
const IS_OVER = `own=$(readlink /proc/self/ns/net)
for one; do
  net=$(readlink "/proc/$one/ns/net")
  [ "$net" ] && [ "$net" != "$own" ] && break
  net=
done
search() { ( ulimit -t ${SEARCH_SECONDS}; exec grep -sH "$@" ); [ $? -gt 128 ] && echo cut; }
{ [ "$net" ] && search ^ "/proc/$one/net/netlink"
  search -rE '^(lock|scm_fds):' $(for one; do echo "/proc/$one/fdinfo"; done)
} 2>/dev/null | awk '
  $1 == "cut" { isOver = 1 }
  $1 ~ "^/proc/[0-9]+/net/netlink:" { bytes += $5 + ${SOCKET_BYTES} }
  $1 ~ /:lock:$/ { split($1, part, "/"); if ($3 == "FLOCK" || !seen[part[3], $6, $7, $8]++) locks++ }
  $1 ~ /:scm_fds:$/ { locks += $2 }
  bytes > ${MOST_BYTES} || locks > ${MOST_LOCKS} || isOver { print "over"; exit }'`;

/**
 * True if the processes of one sandbox have too many locks of files or too much memory for netlink messages, or if the
 * search for them takes more than `SEARCH_SECONDS` of processor time. False if the shell could not run `IS_OVER`.
 */
async function isOver(family: readonly string[]): Promise<boolean> {
  return (await outputOfShell(IS_OVER, family)) === 'over';
}
