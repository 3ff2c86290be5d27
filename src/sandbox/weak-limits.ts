import { readFile, statfs } from 'node:fs/promises';

/** The type of Btrfs in statfs(2). */
const BTRFS = 0x9123683e;
/**
 * If fs.epoll.max_user_watches allows each user this many watches of epoll, a tool reaches its memory limit before it
 * has used up the watches of its user.
 */
const ENOUGH_WATCHES = 2 ** 31 - 1;

/**
 * Returns each way in which one isolated tool could still harm others on this machine, with advice for the operator.
 * The server cannot prevent such harm itself: it lacks rights, a program or a function of the kernel.
 *
 * @param limited - The resources that control groups limit (`Cgroups.resources`).
 * @param whyNoFlowLimit - See `Sandbox.whyNoFlowLimit`.
 * @see docs/sandbox.md, “What the sandbox does not promise”
 */
export async function weakLimits(
  data: string,
  limited: readonly string[],
  whyNoFlowLimit: string | null,
): Promise<string[]> {
  const weak: string[] = [];
  if (!limited.includes('memory'))
    weak.push(
      'A hostile tool can use up the memory of this machine, because this server has no control groups that limit memory: run it as docs/service.md says, or as root in a container.',
    );
  if (whyNoFlowLimit !== null)
    weak.push(
      `A hostile tool can take all connections that this machine may have, because ${whyNoFlowLimit}.`,
    );
  if ((await statfs(data)).type === BTRFS)
    weak.push('The data folder is on Btrfs, so tools can hide disk space from all limits: use ext4 or XFS.');
  // The kernel counts the watches of epoll by user. If a tool leaves no watches for the user of the server, Node.js
  // ends the server.
  if (process.getuid?.() !== 0 && (await mostWatches()) < ENOUGH_WATCHES)
    weak.push(
      `A tool can end this server by using up fs.epoll.max_user_watches: give the server's user subordinate ids, as docs/service.md says, or as root run sysctl fs.epoll.max_user_watches=${ENOUGH_WATCHES}.`,
    );
  return weak;
}

async function mostWatches(): Promise<number> {
  const text = await readFile('/proc/sys/fs/epoll/max_user_watches', 'utf8').catch(() => '');
  return Number(text) || Number.POSITIVE_INFINITY;
}
