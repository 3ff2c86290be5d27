import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { outputOfShell } from '../process/shell.ts';
import type { DiskUse } from './disk-use.ts';
import { BLOCK_BYTES, BY_SANDBOX, WEIGH, wordsFor } from './hidden-disk-use.ts';

/** A sandbox is stopped for at most this many tenths of a second. */
const MAX_TENTHS = 50;

// `nsenter` starts a shell in the process namespace of the sandbox. The `kill` of this shell reaches all processes of
// the sandbox at once, also those that are forking: kill(2), -1. The shell lets these processes continue when nobody
// reads its output any more, so also if this script is killed. In the namespace of this server, `kill` would stop the
// whole machine. So the shell first checks that it is in another namespace: the sandbox may have ended, and its process
// id may belong to another process. `inside` prints the folders of the sandbox's processes in /proc, which are all
// descendants of its first process. To look at all processes of the machine would stop the sandbox for longer. If this
// server is not root, only the user namespace of the outer bwrap gives this server the right to enter the process
// namespace.
const SCRIPT = `device=$1 parent=$2; shift 2
as=
[ "$(id -u)" = 0 ] || as='unshare --user --map-root-user --'
${BY_SANDBOX}
${WEIGH}
inside() {
  grep -Hs '^PPid:' /proc/[0-9]*/status | awk -F '[/:\\t]+' -v init="$init" '
    { parent[$3] = $6 }
    END {
      for (pid in parent) {
        for (one = pid; one in parent && one != init; one = parent[one]);
        if (one == init) print "/proc/" pid
      }
    }'
}
stopped() {
  init=
  for one in $pids; do grep -qsE '^NSpid:.*[[:space:]]1$' "/proc/$one/status" && init=$one; done
  [ "$init" ] || return
  own=
  [ "$(id -u)" = 0 ] ||
    own="--preserve-credentials --user=/proc/$(awk '/^PPid:/ { print $2 }' "/proc/$init/status")/ns/user"
  nsenter $own --pid="/proc/$init/ns/pid" sh -c 'inside=$(readlink /proc/self/ns/pid)
    [ "$inside" ] && [ "$1" ] && [ "$inside" != "$1" ] || exit
    trap "" PIPE
    trap "kill -s CONT -- -1" EXIT
    kill -s STOP -- -1
    tenths=0
    while [ $tenths -lt ${MAX_TENTHS} ] && echo; do sleep 0.1; tenths=$((tenths + 1)); done' sh "$(readlink /proc/self/ns/pid)" 2>/dev/null | {
    read -r _ || exit
    # A process that is in a system call stops only when the call ends.
    sleep 0.1
    folders="-e /$name/"
    pids=$(owners $(inside) | by_sandbox | cut -d ' ' -f 2-)
    pid=$init
    kibibytes=$(timeout 5 $as du -skx "$parent/$name" 2>/dev/null | cut -f 1)
    entries=$(timeout 5 $as find "$parent/$name" -xdev -printf x 2>/dev/null | wc -c)
    weigh | {
      read -r blocks count _
      case $blocks in [0-9]*) echo "$((blocks + 2 * kibibytes)) $((count + entries)) $name" ;; esac
    }
  }
}
owners | in_each_sandbox stopped`;

/**
 * Stops all processes of a sandbox for a moment, and measures meanwhile how much disk its folder and its deleted files
 * use. While the processes run, the server cannot measure a folder that they rename all the time, or a file that they
 * pass from process to process all the time. All `folders` must have the same parent folder. The result leaves out
 * folders that cannot be measured in this way.
 */
export async function useWhileStopped(folders: readonly string[]): Promise<Map<string, DiskUse>> {
  const [first] = folders;
  if (first === undefined) return new Map();
  const parent = dirname(first);
  const { dev } = await stat(parent);
  const output = await outputOfShell(SCRIPT, [String(dev), parent, ...wordsFor(folders)]);
  const byName = new Map(folders.map((folder) => [basename(folder), folder]));
  return new Map(
    (output ?? '').split('\n').flatMap((line): [string, DiskUse][] => {
      const [blocks, entries, name = ''] = line.split(' ');
      const folder = byName.get(name);
      if (folder === undefined) return [];
      return [[folder, { bytes: Number(blocks) * BLOCK_BYTES, entries: Number(entries) }]];
    }),
  );
}
