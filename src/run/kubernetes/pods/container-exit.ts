import type { V1ContainerStateTerminated, V1ContainerStatus } from '@kubernetes/client-node';
import { signalName } from '../../../core/text/signal-name.ts';
import type { Exit } from '../../../sandbox/sandbox.ts';
import { exitHint } from '../../words/exit-words.ts';

const NOT_FOUND = 127;

/** Returns how the newest finished run of a container ended, or null if no run has finished. */
export function lastEnd(status: V1ContainerStatus | undefined): V1ContainerStateTerminated | null {
  return status?.state?.terminated ?? status?.lastState?.terminated ?? null;
}

/**
 * Returns when a container ended, in milliseconds since 1970. If the cluster gives no time, returns the present time.
 */
export function endedAt({ finishedAt }: V1ContainerStateTerminated): number {
  return finishedAt === undefined ? Date.now() : new Date(finishedAt).getTime();
}

/**
 * Converts the end of a container to the form that the local runtime uses, so that both runtimes show the same
 * messages.
 */
export function exitOf({ exitCode, reason, signal }: V1ContainerStateTerminated): Exit {
  // Shells and container runtimes report the signal N as the code 128 + N.
  const number = signal || (exitCode > 128 && exitCode < 160 ? exitCode - 128 : 0);
  const name = signalName(number);
  return {
    code: name === null ? exitCode : null,
    signal: name,
    isOutOfMemory: reason === 'OOMKilled',
  };
}

/** Returns the hint for the exit of a process. The last output may say more than the exit code. */
export function endHint(exit: Exit, lastLines: readonly string[]): string {
  // The launcher of Cloud Native Buildpacks ends with an exit code of its own if it does not find the command. So look
  // for its message.
  const isNotFound = lastLines.some((line) => /failed to launch: path lookup:/.test(line));
  return exitHint(isNotFound ? { ...exit, code: NOT_FOUND } : exit);
}

/** Says how long the node waits before it restarts the container: `10 s`, or `a moment` if that is unknown. */
export function pauseWords(status: V1ContainerStatus | undefined): string {
  const seconds = /back-off (\d+m)?(\d+)s restarting/.exec(status?.state?.waiting?.message ?? '');
  if (seconds === null) return 'a moment';
  const minutes = Number.parseInt(seconds[1] ?? '0', 10);
  return `${minutes * 60 + Number(seconds[2])} s`;
}
