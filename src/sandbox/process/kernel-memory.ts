import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import {
  isMemoryScarce,
  openTcpSockets,
  type Protocol,
  restrictingPages,
} from '../../core/network/socket-memory.ts';
import { MOST_TCP } from '../fence/flow-limit.ts';
import { lastOfLarge } from './last-of-large.ts';
import { outputOfShell } from './shell.ts';

/**
 * The interval, in milliseconds, at which the server reads how much memory, file locks and watches of epoll the kernel
 * has in use. Reading these numbers costs almost nothing.
 */
const TICK_MS = 250;
/**
 * The server searches all sandboxes again when the kernel uses at least this many bytes more than the least that it has
 * used since the last search.
 */
const GROWN_BYTES = 32 * 1024 * 1024;
/**
 * The server also searches all sandboxes again when the machine has at least this many file locks, or watches of epoll,
 * more than the least number since the last search.
 */
const [GROWN_LOCKS, GROWN_WATCHES] = [500, 25_000];
/** The pause after a search of all sandboxes is at least this many times as long as the search. */
const REST = 1;
/**
 * If the server cannot read how many file locks and watches of epoll the kernel has, it searches all sandboxes from
 * time to time. The pause after a search is at least `PAUSE_MS` milliseconds, and at least `PAUSE_LOOKS` times as long
 * as the search.
 */
const [PAUSE_MS, PAUSE_LOOKS] = [5000, 20];
/**
 * How many bytes of memory a sandbox, or all sandboxes of a tool together, may have for messages of netlink sockets.
 * Honest programs have a few kilobytes.
 */
const MOST_BYTES = 32 * 1024 * 1024;
/** About how many bytes of memory the kernel needs for one netlink socket. */
const SOCKET_BYTES = 1024;
/**
 * How many locks of files a sandbox, or all sandboxes of a tool together, may have. Honest programs have a few. The
 * kernel walks all locks of a file when any program closes the file. Some files, such as /dev/null, are the same in all
 * sandboxes and for the server.
 */
const MOST_LOCKS = 2000;
/**
 * How many watches of epoll a sandbox, or all sandboxes of a tool together, may have. Honest programs have one for each
 * connection. When somebody writes to a file, the kernel walks all watches of the file with interrupts off.
 */
const MOST_WATCHES = 50_000;
/**
 * How many bytes of memory the sockets of a protocol in the network of a sandbox, or of all sandboxes of a tool
 * together, may have while the machine runs short of memory for such sockets (`isMemoryScarce`): an eighth of the
 * memory at which the kernel begins to restrict every such socket, but at least 16 MiB.
 */
const mostSocketBytes = (protocol: Protocol) =>
  Math.max(16 * 1024 * 1024, (restrictingPages(protocol) * 4096) / 8);
const MOST: Counts = {
  bytes: MOST_BYTES,
  locks: MOST_LOCKS,
  watches: MOST_WATCHES,
  tcpBytes: mostSocketBytes('TCP'),
  udpBytes: mostSocketBytes('UDP'),
};
const KINDS = ['bytes', 'locks', 'watches', 'tcpBytes', 'udpBytes'] as const;
/**
 * How many TCP sockets all instances of pasta of a tool may have open together. The rules of the kernel (`limitFlows`)
 * do not suffice: they forget a connection that the other side has closed, although its socket keeps its local port.
 */
const MOST_CONNECTIONS = 1.25 * MOST_TCP;
/**
 * While the machine runs short of memory for sockets, or has many TCP sockets, the server looks at the sockets again
 * and again. The pause after a look is at least this many times as long as the look.
 */
const SOCKET_REST = 4;
/**
 * While the machine runs short of memory for TCP connections, the server ends each connection that no process has open
 * any more and that uses more than this many bytes of memory. The kernel would keep such a connection as long as the
 * other side answers.
 */
const ORPHAN_BYTES = 64 * 1024;
/** The kernel's names of locks of files and of watches of epoll, as `objectsOfKernel` takes them. */
const [LOCKS, WATCHES] = ['file_lock_cache', 'eventpoll_epi'];
/**
 * How many seconds of processor time each `grep` of the script `COUNT` may take in one sandbox. A sandbox that needs
 * more must end. Honest programs need only a moment.
 */
const SEARCH_SECONDS = 5;
/**
 * How many milliseconds the server waits until the script `COUNT` has counted in one sandbox. A tool can make this
 * slow, because some files of /proc can be read only when the process gives up a lock. A sandbox with two slow searches
 * in a row must end.
 */
const WAIT_MS = 5000;
/**
 * If it takes longer than this to list the processes, the machine is busy. Then no sandbox is blamed for a slow search.
 */
const BUSY_MS = 2000;
/** How many sandboxes are searched at the same time. */
const AT_ONCE = 8;
const SLOW = Symbol();
const NOTHING: Counts = { bytes: 0, locks: 0, watches: 0, tcpBytes: 0, udpBytes: 0 };

/** What the processes of a sandbox have in the kernel. */
interface Counts {
  /** Bytes of netlink messages. */
  readonly bytes: number;
  readonly locks: number;
  readonly watches: number;
  /** Bytes of memory of TCP connections. 0 if they were not counted, because no memory of sockets is scarce. */
  readonly tcpBytes: number;
  /** The same for UDP sockets. */
  readonly udpBytes: number;
}

/** What the sockets of a user have in the network of this machine. */
interface Outside extends Pick<Counts, 'tcpBytes' | 'udpBytes'> {
  /** The number of TCP sockets. */
  readonly connections: number;
}

/** A process whose descendants are a sandbox. */
interface Watching {
  readonly pid: number;
  /** The process that connects the sandbox to the network. Null if none does. */
  readonly pastaPid: number | null;
  readonly toolNumber: number;
  /**
   * The user who owns the connections by which pasta connects the sandbox to the network. Null if it is the server's.
   */
  readonly uid: number | null;
}

interface Watched extends Watching {
  readonly onOver: () => void;
  readonly startedAt: number;
  /**
   * The search that counts in this sandbox now. Null if none is running. The result of the search is null if it failed.
   */
  search: Promise<Counts | null> | null;
  slowInARow: number;
  /** What the last successful search found. Zeros before that. */
  counts: Counts;
}

/**
 * Limits things in the kernel of which a sandbox could take so many that others suffer: locks of files and watches of
 * epoll, because everybody waits while the kernel walks them; messages that wait in netlink sockets, because no control
 * group counts their memory; the memory of TCP and UDP sockets, because all sockets of the machine share a limited
 * amount; and connections to the network. Each sandbox has these limits, and so have all sandboxes of a tool together.
 */
export class KernelMemoryWatch {
  readonly #watched = new Map<number, Watched>();
  readonly #searches = new ConcurrencyLimit(AT_ONCE);
  #isLooking = false;

  /**
   * Calls `onOver` once if the descendants of a process together have more of something than `MOST` allows. If the
   * descendants of all watched processes of the tool together have more, calls it if `lastOfLarge` chooses these
   * descendants to end. Does the same if the tool has too many connections to the network. Also calls `onOver` if two
   * searches in a row were too slow. Disposing the result ends the watch.
   */
  watch(watching: Watching, onOver: () => void): Disposable {
    const { pid } = watching;
    this.#watched.set(pid, {
      ...watching,
      onOver,
      startedAt: performance.now(),
      search: null,
      slowInARow: 0,
      counts: NOTHING,
    });
    if (!this.#isLooking) void this.#look();
    return { [Symbol.dispose]: () => void this.#watched.delete(pid) };
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    // Begin at 0, so that the server searches the sandboxes soon: the first sandbox may already have taken much before
    // this loop reads the memory of the kernel for the first time.
    let [leastBytes, leastLocks, leastWatches] = [0, 0, 0];
    let [tookMs, endedAt] = [0, performance.now()];
    while (this.#watched.size > 0) {
      await wait(TICK_MS, null, { ref: false });
      const [bytes, locks, watches] = await Promise.all([
        bytesOfKernel(),
        objectsOfKernel(LOCKS),
        objectsOfKernel(WATCHES),
      ]);
      leastBytes = Math.min(leastBytes, bytes);
      leastLocks = Math.min(leastLocks, locks ?? 0);
      leastWatches = Math.min(leastWatches, watches ?? 0);
      const startedAt = performance.now();
      const pausedMs = startedAt - endedAt;
      const hasGrown =
        bytes - leastBytes >= GROWN_BYTES ||
        (locks ?? 0) - leastLocks >= GROWN_LOCKS ||
        (watches ?? 0) - leastWatches >= GROWN_WATCHES;
      const isTime =
        (locks === null || watches === null) && pausedMs >= Math.max(PAUSE_MS, PAUSE_LOOKS * tookMs);
      const isTcpScarce = isMemoryScarce('TCP');
      const isScarce = isTcpScarce || isMemoryScarce('UDP');
      const isMany = openTcpSockets() > MOST_TCP;
      const isSocketTime = (isScarce || isMany) && pausedMs >= SOCKET_REST * tookMs;
      if (isTcpScarce && isSocketTime) await outputOfShell(END_ORPHANS, []);
      const outside = isSocketTime ? await socketsOfUsers() : null;
      if (outside !== null) await this.#endConnections(outside);
      const isDue = (hasGrown && pausedMs >= REST * tookMs) || (isScarce && isSocketTime);
      if (!isDue && !isTime) {
        if (outside !== null) [endedAt, tookMs] = [performance.now(), performance.now() - startedAt];
        continue;
      }
      const families = await familiesOf([...this.#watched.keys()]);
      const isBusy = performance.now() - startedAt > BUSY_MS;
      const ofTools = Map.groupBy(families, ([pid]) => this.#watched.get(pid)?.toolNumber);
      const searches = [...ofTools].map(async ([toolNumber, ofTool]) => {
        await Promise.all(
          ofTool.map(([pid, family]) =>
            this.#searches.run(() =>
              this.#search(pid, family, { isBusy, outside: isScarce ? outside : null }),
            ),
          ),
        );
        this.#keepShare(toolNumber);
      });
      await Promise.all(searches);
      [leastBytes, leastLocks, leastWatches] = [bytes, locks ?? 0, watches ?? 0];
      endedAt = performance.now();
      tookMs = endedAt - startedAt;
    }
    this.#isLooking = false;
  }

  async #search(
    pid: number,
    family: readonly string[],
    { isBusy, outside }: { readonly isBusy: boolean; readonly outside: ReadonlyMap<number, Outside> | null },
  ): Promise<void> {
    const watched = this.#watched.get(pid);
    if (watched === undefined) return;
    // A search in this sandbox that an earlier look has started may still run. Then wait for that search, and start no
    // second one.
    watched.search ??= countsOf(family, outside !== null).finally(() => {
      watched.search = null;
    });
    const found = await Promise.race([watched.search, wait(WAIT_MS, SLOW, { ref: false })]);
    if (!isBusy) watched.slowInARow = found === SLOW ? watched.slowInARow + 1 : 0;
    if (found !== SLOW && found !== null) {
      const ofUser = [...this.#watched.values()].filter(({ uid }) => uid === watched.uid).length;
      const { tcpBytes, udpBytes } = outside?.get(watched.uid ?? -1) ?? NOTHING;
      watched.counts = {
        ...found,
        tcpBytes: found.tcpBytes + tcpBytes / ofUser,
        udpBytes: found.udpBytes + udpBytes / ofUser,
      };
    }
    const isOver = KINDS.some((kind) => watched.counts[kind] > MOST[kind]);
    if (isOver || watched.slowInARow >= 2) this.#end(watched);
  }

  /** If the sandboxes of a tool together are over a limit, ends one after another, as `lastOfLarge` chooses. */
  #keepShare(toolNumber: number | undefined): void {
    for (const kind of KINDS) {
      for (;;) {
        const ofTool = [...this.#watched.values()].filter((watched) => watched.toolNumber === toolNumber);
        const sum = ofTool.reduce((total, { counts }) => total + counts[kind], 0);
        const ended = sum > MOST[kind] ? lastOfLarge(ofTool, ({ counts }) => counts[kind]) : null;
        if (ended === null) break;
        this.#end(ended);
      }
    }
  }

  /**
   * If a tool has too many connections, ends one of its sandboxes, as `lastOfLarge` chooses by the open files of pasta.
   * If tools have no users of their own, their connections cannot be counted, and this function does nothing.
   */
  async #endConnections(outside: ReadonlyMap<number, Outside>): Promise<void> {
    for (const ofTool of Map.groupBy(this.#watched.values(), ({ toolNumber }) => toolNumber).values()) {
      const users = new Set(ofTool.map(({ uid }) => uid ?? -1));
      const sum = [...users].reduce((total, uid) => total + (outside.get(uid)?.connections ?? 0), 0);
      if (sum <= MOST_CONNECTIONS) continue;
      const files = await Promise.all(
        ofTool.map(async (watched) => [watched, await openFiles(watched.pastaPid)] as const),
      );
      const open = new Map(files);
      const ended = lastOfLarge(ofTool, (watched) => open.get(watched) ?? 0);
      if (ended !== null) this.#end(ended);
    }
  }

  #end(watched: Watched): void {
    if (this.#watched.get(watched.pid) !== watched) return;
    this.#watched.delete(watched.pid);
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
 * How many objects the kernel has in its slab cache of this name, such as `file_lock_cache`. The number may be too
 * high, because some kernels count objects of the same size together. Null if this server may not read it: only root
 * can.
 */
async function objectsOfKernel(name: string): Promise<number | null> {
  const text = await readFile(`/sys/kernel/slab/${name}/objects`, 'utf8').catch(() => '');
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

/** How many files a process has open. 0 if it has ended. */
async function openFiles(pid: number | null): Promise<number> {
  return pid === null ? 0 : (await readdir(`/proc/${pid}/fd`).catch(() => [])).length;
}

// A function of awk: the bytes of memory of the socket in a line of ss(8) with `skmem`. The memory is what waits to be
// read (r) or sent (w), and what the socket holds in reserve (f).
const SOCKET_MEMORY = `
  function memory(line,  part, count, i, sum) {
    sub(/.*skmem:[(]/, "", line)
    count = split(line, part, ",")
    for (i = 1; i <= count; i++) if (part[i] ~ /^[rfw][0-9]/) sum += substr(part[i], 2)
    return sum
  }`;

// A script that counts the bytes of netlink messages, the locks of files, the watches of epoll and the memory of TCP
// and UDP sockets of one sandbox, up to the first count that is over its limit. It counts the memory of TCP and UDP
// sockets only if `$1` is `sockets`. The other arguments are the processes of the sandbox. If a search takes more than
// `SEARCH_SECONDS`, the first count is infinite. `fdinfo` in /proc lists the locks of a process once for each
// descriptor of the same file, but they count once. A lock by flock(2) counts for each descriptor, because many
// descriptors of one file can have one each. Such locks stay while files wait in the queue of a socket (SCM_RIGHTS,
// unix(7)), so each of these files counts as a lock. All netlink sockets of the network namespace count, and also
// messages to the kernel, which it keeps while it answers. `fdinfo` has one line (`tfd`) for each watch of epoll.
// Watches that several processes share, because one has started the others, count for each of them. To see connections,
// a user other than root must enter the user namespace that owns the network namespace, which is not the namespace of
// each process in the sandbox. So the script tries one process after the other.
const COUNT = `counted=$1; shift
own=$(readlink /proc/self/ns/net)
[ "$(id -u)" = 0 ] && user=false || user=true
sockets() (
  ulimit -t ${SEARCH_SECONDS}
  for one; do
    [ "$(readlink "/proc/$one/ns/net")" = "$own" ] && continue
    enter="--net=/proc/$one/ns/net"
    $user && enter="$enter --user=/proc/$one/ns/user --preserve-credentials"
    nsenter $enter -- ss -tuanmHO && return
  done
)
for one; do
  net=$(readlink "/proc/$one/ns/net")
  [ "$net" ] && [ "$net" != "$own" ] && break
  net=
done
search() { ( ulimit -t ${SEARCH_SECONDS}; exec grep -sH "$@" ); [ $? -gt 128 ] && echo cut; }
{ [ "$net" ] && search ^ "/proc/$one/net/netlink"
  [ "$net" ] && [ "$counted" = sockets ] && sockets "$@"
  search -rE '^(lock|scm_fds|tfd):' $(for one; do echo "/proc/$one/fdinfo"; done)
} 2>/dev/null | awk '${SOCKET_MEMORY}
  $1 == "cut" { bytes = "Infinity"; exit }
  $1 ~ "^/proc/[0-9]+/net/netlink:" { bytes += $5 + ${SOCKET_BYTES} }
  $1 ~ /:lock:$/ { split($1, part, "/"); if ($3 == "FLOCK" || !seen[part[3], $6, $7, $8]++) locks++ }
  $1 ~ /:scm_fds:$/ { locks += $2 }
  $1 ~ /:tfd:$/ { watches++ }
  /skmem:/ { memories[$1] += memory($0) }
  bytes > ${MOST_BYTES} || locks > ${MOST_LOCKS} || watches > ${MOST_WATCHES} { exit }
  END { print bytes ? bytes : 0, locks + 0, watches + 0, memories["tcp"] + 0, memories["udp"] + 0 }'`;

// Prints for each user, except root, who has sockets in the network of this machine: the number of TCP sockets, and the
// bytes of memory of all TCP and of all UDP sockets.
const COUNT_USERS = `ss -tuanmeHO | awk '${SOCKET_MEMORY}
  match($0, / uid:[0-9]+/) {
    uid = substr($0, RSTART + 5, RLENGTH - 5)
    counts[uid] += $1 == "tcp"
    bytes[uid, $1] += memory($0)
  }
  END { for (uid in counts) print uid, counts[uid], bytes[uid, "tcp"] + 0, bytes[uid, "udp"] + 0 }'`;

// Ends the connections of this machine that no process has open any more and that use more than `ORPHAN_BYTES` of
// memory. Only root can do that. Each command line of ss has a hundred connections.
const END_ORPHANS = `ss -tnmeHO | awk '${SOCKET_MEMORY}
  $4 ~ /:[0-9]+$/ && $5 ~ /:[0-9]+$/ && / ino:0 / && memory($0) > ${ORPHAN_BYTES} {
    printf "%s( src %s and dst %s )", count % 100 == 0 ? "\\n" : " or ", $4, $5
    count++
  }
  END { print "" }' | while read -r filter; do
  [ "$filter" ] && ss -tnHK $filter >/dev/null 2>&1
done`;

/**
 * Returns what the sockets of each user but root have in the network of this machine. There, pasta has a socket for
 * each connection between a sandbox and the network.
 */
async function socketsOfUsers(): Promise<Map<number, Outside>> {
  const output = (await outputOfShell(COUNT_USERS, [])) ?? '';
  const lines = output.split('\n').filter(Boolean);
  return new Map(
    lines.map((line) => {
      const [uid = 0, connections = 0, tcpBytes = 0, udpBytes = 0] = line.split(' ').map(Number);
      return [uid, { connections, tcpBytes, udpBytes }];
    }),
  );
}

/**
 * Counts the bytes in netlink sockets, the locks and the epoll watches of the processes of one sandbox; `withSockets`
 * also the bytes of their TCP and UDP sockets. Null if the script `COUNT` did not run to its end.
 */
async function countsOf(family: readonly string[], withSockets: boolean): Promise<Counts | null> {
  const output = await outputOfShell(COUNT, [withSockets ? 'sockets' : '', ...family]);
  if (!output) return null;
  const [bytes = 0, locks = 0, watches = 0, tcpBytes = 0, udpBytes = 0] = output.split(' ').map(Number);
  return { bytes, locks, watches, tcpBytes, udpBytes };
}
