import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { outputOfShell } from '../process/shell.ts';
import type { LookCause } from './disk-pace.ts';
import type { DiskUse } from './disk-use.ts';

/**
 * The pause after a measurement of deleted files is at least this many times as long as the measurement. While the disk
 * fills, and after a search that was cut, the pause need only be as long as the measurement.
 */
const REST = 4;
export const BLOCK_BYTES = 512;
/**
 * To find deleted files that are still open, the server runs a few programs for each sandbox. Each of them may take
 * this many seconds of processor time. A sandbox that needs more, for example because its processes have mapped
 * millions of files, must end. Honest programs need a few hundredths of a second.
 */
const SEARCH_SECONDS = 2;
/**
 * Each program that searches one sandbox for deleted files is cut (ended early) after this many seconds. To read the
 * mapped files of a process, the search waits until no thread of the process changes its memory (mmap_lock). A tool can
 * make this wait endless without using processor time. A sandbox whose search is cut two times in a row must end.
 */
const WAIT_SECONDS = 5;
/** The most sandboxes in which the server searches for deleted files at the same time. */
const AT_ONCE = 16;
const NOTHING: DiskUse = { bytes: 0, entries: 0 };

/**
 * A shell condition. It is true if the search with the exit status `$status` was killed because of `ulimit -t`, or was
 * not started (126) because the ids in `$pids` are too many for the arguments of one program. The status 126 can also
 * have other causes, such as too little memory.
 */
const IS_TOO_MUCH = `{ [ $status -gt 128 ] || { [ $status = 126 ] && [ \${#pids} -gt 50000 ]; }; }`;

/**
 * Words to put before a program. The program then ends with status 124 after `WAIT_SECONDS`, and is killed after
 * `SEARCH_SECONDS` of processor time.
 */
const LIMITED = `ulimit -t ${SEARCH_SECONDS}; exec timeout ${WAIT_SECONDS}`;

// Shell functions. `owners` prints which process has which of the folders `$folders` mounted. Its arguments are folders
// of processes in /proc, by default all. `by_sandbox` turns this output into one line for each folder, with the ids of
// its processes. A list of all processes can be too long for the arguments of one program, so xargs splits the list. If
// the first thread of a process has ended, /proc/PID shows no files and mounts, but /proc/THREAD of its other threads
// does, so `owners` reads that. `in_each_sandbox` calls a function for each folder, several at the same time, with the
// name of the folder (`$name`), the ids of its processes (`$pids`) and the first of these ids (`$pid`). Such a function
// must print at most one short line, because several functions print into one pipe.
export const BY_SANDBOX = `folders=$*
owners() {
  leaderless=$(printf '%s/status\\0' \${*:-/proc/[0-9]*} | xargs -0 grep -ls '^State:.Z' | while IFS=/ read -r _ _ pid _; do
    thread=$(ls "/proc/$pid/task" 2>/dev/null | grep -vxm1 "$pid") && echo "/proc/$thread/mountinfo"
  done)
  { printf '%s/mountinfo\\0' \${*:-/proc/[0-9]*}; printf '%s\\0' $leaderless; } | xargs -0 grep -oFH $folders -- 2>/dev/null
}
by_sandbox() {
  awk -F '[/:]' '$3 != "" && !seen[$3]++ { pids[$6] = pids[$6] " " $3 } END { for (name in pids) print name pids[name] }'
}
each() { for one in $pids; do printf "/proc/$one/%s " "$@"; done; }
names_of_sockets() { sed -nE '2,$s/^([^ ]+ +){7}([^@])/\\2/p' "/proc/$pid/net/unix"; }
in_each_sandbox() {
  by_sandbox | {
    count=0
    while read -r name pids; do
      pid=\${pids%% *}
      "$1" &
      count=$((count + 1))
      [ $((count % ${AT_ONCE})) = 0 ] && wait
    done
    wait
  }
}`;

/**
 * A shell command that prints the device number of an overlay (`Mount.writesTo`): the overlay whose `upperdir` is below
 * the folder `$name`. Files in an overlay have its device number, not the disk's. The process $pid must see the overlay.
 * mountinfo has the number as `0:MINOR`, and awk turns it into the one number that stat(2) gives.
 */
const OVERLAY_DEVICE = `sed -nE "s#^[0-9]+ [0-9]+ 0:([0-9]+) .*upperdir=[^ ]*/$name/.*#\\1#p" "/proc/$pid/mountinfo" 2>/dev/null |
  awk 'NR == 1 { print $1 % 256 + int($1 / 256) * 1048576 }'`;

/**
 * The most slots that the tables of file descriptors in one sandbox may have together. The server ends a sandbox with
 * more, because searching its descriptors for deleted files could take too long. Tables of at most 1024 slots do not
 * count. A table doubles when it is full, and never shrinks.
 */
export const MAX_DESCRIPTORS = 65_536;
const FEW_DESCRIPTORS = 1024;
const CROWDED = 'crowded';
const CUT = 'cut';
const SLOW = 'slow';

// The shell function `weigh` looks at the deleted files that the processes of one sandbox still hold. It prints their
// blocks, their number and the name of the sandbox's folder. Files in memory (memfd_create) are on another device and
// do not count. If a process has mapped a file and then closed it, only root can find the file. A running program's own
// file (`exe`) counts even if it is neither open nor mapped. So does the working folder of a thread: a deleted folder
// keeps the room that the names in it once took. A Unix socket that was bound to a path holds an inode until the socket
// is closed, even if its name was deleted. Each sandbox has its own network namespace, so all sockets with a name in
// that namespace count. For each folder, an inode number counts once, also if a file of its overlay and a file of the
// release have the same number.
export const WEIGH = `weigh() {
  { echo "sockets $(sed -nE '2,$s/^([^ ]+ +){7}./x/p' "/proc/$pid/net/unix" | wc -l)"
    echo "overlay $(${OVERLAY_DEVICE})"
    ( ${LIMITED} find -L $(each 'task/*/cwd') -maxdepth 0 -links 0 -printf 'file %D %i %b\\n' ) 2>/dev/null
    ( ${LIMITED} find -L $(each fd map_files exe) -maxdepth 1 -links 0 -printf 'file %D %i %b\\n' ) 2>/dev/null
    status=$?
    [ $status = 124 ] && echo ${CUT}
    if ${IS_TOO_MUCH}; then echo ${CROWDED}; fi
  } | awk -v name="$name" -v device="$device" '
    $1 == "${CUT}" || $1 == "${CROWDED}" { why = $1 }
    $1 == "sockets" { count += $2 }
    $1 == "overlay" { overlay = $2 }
    $1 == "file" && ($2 == device || $2 == overlay) && !seen[$3]++ { sum += $4; count++ }
    END { if (why != "") print why, name; else print sum + 0, count + 0, name }'
}`;

// To find sandboxes with too many open files, the script adds up `FDSize`, the size of the table of descriptors of each
// process. `FDSize` is cheap to read and never too small: proc_pid_status(5).
const SCRIPT = `device=$1; shift
${BY_SANDBOX}
owners=$(owners)
crowded=$({ printf '%s\\n' "$owners"
  printf '%s\\n' "$owners" | awk -F / '$3 != "" && !seen[$3]++ { print "/proc/" $3 "/status" }' |
    xargs grep -H '^FDSize:' /dev/null 2>/dev/null
} | awk -F '[/:]' '$4 == "mountinfo" && !($3 in of) { of[$3] = $6 }
  $5 == "FDSize" && $6 + 0 > ${FEW_DESCRIPTORS} { sum[of[$3]] += $6 }
  END { for (name in sum) if (sum[name] > ${MAX_DESCRIPTORS}) print name }')
for name in $crowded; do
  echo "${CROWDED} $name"
  owners=$(printf '%s\\n' "$owners" | grep -vF "/$name/")
done
${WEIGH}
( timeout 1 find -L /proc/self/fd /proc/self/map_files -maxdepth 1 -links 0 >/dev/null 2>&1; [ $? = 124 ] && echo ${SLOW} ) &
printf '%s\\n' "$owners" | in_each_sandbox weigh
wait`;

/**
 * Measures for each folder how much disk deleted files still use. A deleted file counts if a process for which the
 * folder is mounted holds the file open or mapped. All folders must be on one disk. Their last path parts must differ,
 * because `SCRIPT` knows a folder only by its last part. Null if the shell could not run `SCRIPT`.
 */
async function hiddenUseOf(folders: readonly string[]): Promise<Look | null> {
  const [first] = folders;
  if (first === undefined) return { found: new Map(), crowded: new Set(), cut: new Set(), isSlow: false };
  const { dev } = await stat(dirname(first));
  const byName = new Map(folders.map((folder) => [basename(folder), folder]));
  const found = new Map<string, DiskUse>();
  const without = { [CROWDED]: new Set<string>(), [CUT]: new Set<string>() };
  const output = await outputOfShell(SCRIPT, [String(dev), ...wordsFor(folders)]);
  if (output === null) return null;
  const lines = output.split('\n');
  for (const line of lines) {
    const [blocks, entries, name = ''] = line.split(' ');
    const isWithout = blocks === CROWDED || blocks === CUT;
    const folder = byName.get(isWithout ? (entries ?? '') : name);
    if (folder === undefined) continue;
    if (isWithout) without[blocks].add(folder);
    else found.set(folder, { bytes: Number(blocks) * BLOCK_BYTES, entries: Number(entries) });
  }
  return { found, crowded: without[CROWDED], cut: without[CUT], isSlow: lines.includes(SLOW) };
}

interface Look {
  readonly found: ReadonlyMap<string, DiskUse>;
  /**
   * The folders whose sandboxes have more than `MAX_DESCRIPTORS` descriptors, or need more than `SEARCH_SECONDS` of
   * processor time for the search.
   */
  readonly crowded: ReadonlySet<string>;
  /** The folders whose sandboxes could not be searched for deleted files within `WAIT_SECONDS`. */
  readonly cut: ReadonlySet<string>;
  /**
   * True if a search for comparison, in a process of this server, took too long as well. Then the machine is slow, and
   * no sandbox is to blame.
   */
  readonly isSlow: boolean;
}

/**
 * A shell command that prints those of the links `$@` (open files in /proc) that lead into subfolders of the folders to
 * which a tool can write. Also prints links whose target is too long to be read.
 */
const BELOW_FOLDERS = `find "$@" -maxdepth 0 -type l ! -lname "/run/*" \
  ! \\( -lname "/*/*" ! -lname "/*/*/*" \\) ! \\( -lname "/home/tool/*" ! -lname "/home/tool/*/*" \\)`;

// This script finds sandboxes whose processes may hide deleted files in one of seven ways. Open files can wait in the
// queue of a socket (SCM_RIGHTS, unix(7)). A process cannot be inspected if its program can be run but not read
// (execve(2)). If this server is not root, it cannot see files that a process has mapped and closed. A process can have
// too many descriptors to search in time. If a process changes its memory all the time, nobody can see its mapped
// files. An open file or folder that was deleted keeps the folders above it on the disk, even if these were deleted
// too. Such folders may be large, and the server cannot tell whether they were deleted, because other folders can have
// their names by now. A Unix socket whose name was deleted keeps the folders above it in the same way.
const HIDING = `device=$1; shift
${BY_SANDBOX}
# Each process of a tool has a deleted pipe of this server as its output. This pipe must not count.
others="! ( -type p -uid $(id -u) )"
search() {
  for one in $pids; do
    if [ ! -r "/proc/$one/fd" ] && [ -d "/proc/$one/fd" ]; then echo "$name"; return; fi
  done
  ( ${LIMITED} grep -rqsE '^scm_fds:[[:space:]]*[1-9]' $(each fdinfo) )
  status=$?
  if [ $status = 0 ] || [ $status = 124 ] || ${IS_TOO_MUCH}; then echo "$name"; return; fi
  deleted=$(
    ulimit -t ${SEARCH_SECONDS}
    names_of_sockets | while IFS= read -r path; do
      case $path in /*) from=root ;; *) from=cwd/ ;; esac
      for one in $pids; do [ -S "/proc/$one/$from$path" ] && break; done || { echo deleted; break; }
    done
  ) || deleted=${CUT}
  if [ "$deleted" ]; then echo "$name"; return; fi
  overlay=$(${OVERLAY_DEVICE})
  if { ( ${LIMITED} find -L $(each fd map_files exe) -maxdepth 1 -links 0 $others -printf '%D %p\\n' )
    ( ${LIMITED} find -L $(each 'task/*/cwd') -maxdepth 0 -links 0 -printf '%D %p\\n' )
  } | awk -v device="$device" -v overlay="$overlay" '$1 == device || $1 == overlay { print $2 }' |
    xargs -r sh -c '${BELOW_FOLDERS}' sh | grep -q .; then echo "$name"; return; fi
  { ( ${LIMITED} find -L $(each fd map_files) -maxdepth 1 -links 0 -printf '%D %i\\n' ) || [ $? -lt 124 ] || echo ${CUT}
    ( ${LIMITED} cat $(each maps) ) || [ $? -lt 124 ] || echo ${CUT}
  } | awk -v name="$name" -v device="$device" -v overlay="$overlay" '
    $1 == "${CUT}" { print name; exit }
    NF == 2 { if ($1 == device || $1 == overlay) counted[$2]; next }
    $NF == "(deleted)" && $6 !~ "^/(memfd:|dev/|SYSV|usr/|lib)" && !($5 in counted) { print name; exit }'
}
owners | in_each_sandbox search 2>/dev/null`;

/**
 * Returns those of `folders` whose processes may hide deleted files from this server, for example in the queue of a
 * socket. The server cannot measure how much disk such files use. Honest programs hide files rarely, or only for a
 * moment. Empty if the search fails now.
 */
export async function foldersWithSecrets(folders: readonly string[]): Promise<Set<string>> {
  const [first] = folders;
  if (first === undefined) return new Set();
  const { dev } = await stat(dirname(first));
  const lines = (await outputOfShell(HIDING, [String(dev), ...wordsFor(folders)]))?.split('\n') ?? [];
  return new Set(folders.filter((folder) => lines.includes(basename(folder))));
}

/**
 * Returns the arguments for a shell script that contains `BY_SANDBOX`, so that the script looks only at the sandboxes
 * of these folders.
 */
export function wordsFor(folders: readonly string[]): string[] {
  return folders.flatMap((folder) => ['-e', `/${basename(folder)}/`]);
}

/**
 * Measures from time to time how much disk deleted files still use. This is slow if a tool holds many files open. So
 * callers do not wait for `look`, but read its last result with `of`.
 */
export class HiddenUse {
  #found: ReadonlyMap<string, DiskUse> = new Map();
  #crowded: ReadonlySet<string> = new Set();
  #cut: ReadonlySet<string> = new Set();
  /**
   * When the next measurement of deleted files may begin: `usual` normally, `soonest` while the disk fills or is nearly
   * full.
   */
  #next = { usual: 0, soonest: 0 };

  of(folder: string): DiskUse {
    return this.#found.get(folder) ?? NOTHING;
  }

  /**
   * True if the disk use of the sandbox cannot be measured, because the sandbox has too many open or mapped files, or
   * because two searches in a row were cut after `WAIT_SECONDS`. The caller must then end the sandbox.
   */
  isCrowded(folder: string): boolean {
    return this.#crowded.has(folder);
  }

  /**
   * Measures how much disk the deleted files of these folders still use. Does nothing during another measurement, and
   * during the pause after one.
   */
  async look(folders: readonly string[], cause: LookCause): Promise<void> {
    const startedAt = performance.now();
    if (startedAt < this.#next[cause === 'pause' ? 'usual' : 'soonest']) return;
    this.#next = { usual: Infinity, soonest: Infinity };
    const look = await hiddenUseOf(folders).catch(() => null);
    const cut: ReadonlySet<string> = look === null || look.isSlow ? new Set() : look.cut;
    // If a sandbox could not be searched for deleted files, keep the disk use that the last search has found there.
    const known = [...(look?.cut ?? [])].map((folder) => [folder, this.of(folder)] as const);
    this.#found = new Map([...(look?.found ?? []), ...known]);
    this.#crowded = (look?.crowded ?? new Set()).union(cut.intersection(this.#cut));
    this.#cut = cut;
    const now = performance.now();
    // A search that was cut after `WAIT_SECONDS` has mostly waited and used little processor time. So the next search
    // may follow soon.
    const rest = cut.size > 0 ? 1 : REST;
    this.#next = { usual: now + rest * (now - startedAt), soonest: now + (now - startedAt) };
  }
}
