import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { outputOfShell } from './shell.ts';

/** The interval at which the memory of the kernel is read. Reading it costs almost nothing. */
const TICK_MS = 250;
/**
 * The next look at the sandboxes comes when the memory of the kernel has grown by this many bytes since the last look.
 */
const GROWN_BYTES = 32 * 1024 * 1024;
/** The pause after a look is at least this many times as long as the look. */
const REST = 1;
/**
 * How many bytes of memory a sandbox may have for locks of files and for messages of netlink sockets. Honest programs
 * have a few kilobytes.
 */
const MOST_BYTES = 32 * 1024 * 1024;
/** About what the kernel needs for one lock of a file (`struct file_lock`), and for one netlink socket. */
const [LOCK_BYTES, SOCKET_BYTES] = [256, 1024];
/**
 * How many seconds of processor time the search for the locks of one sandbox may take. To find `MOST_BYTES` takes about
 * a second.
 */
const SEARCH_SECONDS = 5;
/**
 * How long a look waits for the search in one sandbox, in milliseconds. A tool can make reading slow, because some
 * files of /proc wait for locks of the process. A sandbox with two slow searches in a row must end.
 */
const WAIT_MS = 5000;
/** If listing the processes takes longer than this, the machine is busy, so that slow searches prove nothing. */
const BUSY_MS = 2000;
/** How many sandboxes are searched at the same time. */
const AT_ONCE = 8;

interface Watched {
  readonly onOver: () => void;
  /**
   * The search that runs in this sandbox, if one does. Its result is true if the sandbox has more than `MOST_BYTES`.
   */
  search: Promise<boolean> | null;
  slowInARow: number;
}

/**
 * Limits kernel memory of sandboxes that no control group counts, whatever limits their other memory: locks of files,
 * and messages that wait in netlink sockets.
 */
export class KernelMemoryWatch {
  readonly #watched = new Map<number, Watched>();
  readonly #searches = new ConcurrencyLimit(AT_ONCE);
  #isLooking = false;

  /**
   * Calls `onOver` once if the descendants of a process together use more than `MOST_BYTES`. Disposing the result ends
   * the watch.
   */
  watch(pid: number, onOver: () => void): Disposable {
    this.#watched.set(pid, { onOver, search: null, slowInARow: 0 });
    if (!this.#isLooking) void this.#look();
    return { [Symbol.dispose]: () => void this.#watched.delete(pid) };
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    let [least, tookMs, endedAt] = [Number.POSITIVE_INFINITY, 0, performance.now()];
    while (this.#watched.size > 0) {
      await wait(TICK_MS, null, { ref: false });
      const bytes = await bytesOfKernel();
      least = Math.min(least, bytes);
      const startedAt = performance.now();
      if (bytes - least < GROWN_BYTES || startedAt - endedAt < REST * tookMs) continue;
      const families = await familiesOf([...this.#watched.keys()]);
      const isBusy = performance.now() - startedAt > BUSY_MS;
      const searches = [...families].map(([pid, family]) =>
        this.#searches.run(() => this.#search(pid, family, isBusy)),
      );
      await Promise.all(searches);
      least = bytes;
      endedAt = performance.now();
      tookMs = endedAt - startedAt;
    }
    this.#isLooking = false;
  }

  async #search(pid: number, family: readonly string[], isBusy: boolean): Promise<void> {
    const watched = this.#watched.get(pid);
    if (watched === undefined) return;
    // The search of an earlier look may still run. This look then waits for it, and starts no second one.
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

// If the first thread of a process has ended, /proc shows the files of the process only below the id of another thread.
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

// `fdinfo` lists the locks of a process once for each descriptor of the same file, but they count once. All netlink
// sockets of the network namespace count, and also messages to the kernel, which it keeps while it answers.
const IS_OVER = `own=$(readlink /proc/self/ns/net)
for one; do
  net=$(readlink "/proc/$one/ns/net")
  [ "$net" ] && [ "$net" != "$own" ] && break
  net=
done
{ [ "$net" ] && awk 'NR > 1 { print "netlink", $5 }' "/proc/$one/net/netlink"
  ( ulimit -t ${SEARCH_SECONDS}; exec grep -rsH '^lock:' $(for one; do echo "/proc/$one/fdinfo"; done) )
  [ $? -gt 128 ] && echo cut
} 2>/dev/null | awk '
  $1 == "cut" { isOver = 1 }
  $1 == "netlink" { bytes += $2 + ${SOCKET_BYTES} }
  $1 ~ /:lock:$/ { split($1, part, "/"); if (!seen[part[3], $6, $7, $8]++) bytes += ${LOCK_BYTES} }
  bytes > ${MOST_BYTES} || isOver { print "over"; exit }'`;

/** True if the processes of one sandbox use more than `MOST_BYTES`. False if the shell could not run `IS_OVER`. */
async function isOver(family: readonly string[]): Promise<boolean> {
  return (await outputOfShell(IS_OVER, family)) === 'over';
}
