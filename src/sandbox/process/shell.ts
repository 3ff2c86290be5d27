import { execa } from 'execa';
import { orGiveUp } from '../../core/concurrency/or-give-up.ts';

/** A shell script that takes longer counts as failed. */
const LONGEST_MS = 60_000;

/**
 * Runs a shell script that looks at other processes, and returns what it prints, whatever its exit code. Such scripts
 * read many files of /proc, which would block the server.
 *
 * @param argv - The arguments of the script, from `$1` on.
 * @returns null if the shell cannot be started, takes longer than a minute (`LONGEST_MS`) or is killed, for example
 * because this machine has no process, file descriptor or memory left. Then nothing was measured, and callers that
 * measure try again at their next turn.
 */
export async function outputOfShell(script: string, argv: readonly string[]): Promise<string | null> {
  const running = execa('/bin/sh', ['-c', script, 'sh', ...argv], {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
    extendEnv: false,
    stdin: 'ignore',
    stderr: 'ignore',
    reject: false,
  });
  const result = await orGiveUp(running, LONGEST_MS);
  return result?.exitCode === undefined ? null : result.stdout;
}
