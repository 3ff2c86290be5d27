import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { withPipes } from '../../core/child-pipes.ts';
import { type Exit, fromStatus } from '../sandbox.ts';
import { asPassableError } from './argument-limits.ts';
import type { Cgroup } from './cgroups.ts';
import { type OutputPipe, openPipe } from './output-pipe.ts';

/**
 * The values of oom_score_adj, proc_pid_oom_score_adj(5): of live processes, and of processes that the kernel is to end
 * first if memory is short.
 */
const [SCORE, FIRST_SCORE] = [500, 900];
/**
 * How many times `settle` looks for processes whose score it has not changed yet. It looks several times, because a
 * process may fork meanwhile.
 */
const MAX_LOOKS = 5;

/**
 * Call this when processes that were started with `endsFirst` become live. Gives them the oom_score_adj of live
 * processes, so that the kernel no longer ends them first when memory is short.
 */
export function settle(pids: () => readonly number[]): void {
  const settled = new Set<number>();
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const left = pids().filter((pid) => !settled.has(pid));
    if (left.length === 0) return;
    for (const pid of left) {
      settled.add(pid);
      try {
        writeFileSync(`/proc/${pid}/oom_score_adj`, String(SCORE));
      } catch {
        // Ignore the error: the process has ended, or this server may not change the score. In the second case, the
        // process keeps its high score: if memory is short, the kernel still ends it before live processes.
      }
    }
  }
}

/**
 * Starts a program through a shell that first joins the control groups, so that nothing runs outside them. The shell
 * then becomes the program, with the same process id.
 *
 * @throws DeployError `NOT_PASSABLE` if the arguments are too large; otherwise the system's error. Before this function
 * throws, it releases the output pipe and the control group.
 */
export function startInCgroup(cgroup: Cgroup, argv: readonly string[], options: StartOptions): StartedChild {
  // If memory is short, the kernel ends processes with a high score first. So it ends a tool before it ends the server,
  // and a build before it ends a live process.
  const score = options.endsFirst === true ? FIRST_SCORE : SCORE;
  const script = `{ echo ${score} >/proc/self/oom_score_adj; } 2>/dev/null; while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"`;
  let pipe: OutputPipe | null = null;
  try {
    pipe = openPipe(options.pipeFolder);
    const child = withPipes(
      spawn('/bin/sh', ['-c', script, 'sh', ...cgroup.entrances, '--', ...argv], {
        env: options.env,
        cwd: options.cwd,
        stdio: [
          options.input === null ? 'ignore' : 'pipe',
          pipe.writer,
          'pipe',
          ...(options.descriptors ?? []),
        ],
        // The child gets its own session, so that Ctrl-C at the server's terminal reaches only the server.
        detached: true,
      }),
    );
    // Ignore EPIPE: the child ended before it read its input. Its exit status tells why.
    child.stdin?.on('error', () => {});
    if (options.input !== 'open') child.stdin?.end(options.input);
    return { child, output: outputOf(pipe.reader, child), writers: pipe.writers };
  } catch (error) {
    pipe?.reader.destroy();
    void cgroup.remove();
    throw asPassableError(error);
  } finally {
    pipe?.closeWriter();
  }
}

export interface StartOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /**
   * The text for the program's standard input. Null gives it no input. The input `open` has no text, and ends when the
   * caller ends `child.stdin` or this server ends.
   */
  readonly input: string | 'open' | null;
  /** Open descriptors of the server that the program gets as descriptors 3 and following. */
  readonly descriptors?: readonly number[];
  /**
   * The folder in which the output pipe is created as a FIFO. The FIFO's name is deleted as soon as the pipe is open.
   */
  readonly pipeFolder: string;
  /** If true, and memory is short, the kernel ends this program before it ends processes of live releases. */
  readonly endsFirst?: boolean | undefined;
}

export interface StartedChild {
  readonly child: ChildProcess;
  readonly output: Readable;
  /** Returns the ids of the processes that have the output pipe open. See `OutputPipe.writers`. */
  readonly writers: () => number[];
}

/**
 * A prefix that runs the command after it without input, and with standard output and standard error in one pipe to
 * keep their order.
 */
export const INTERLEAVED = ['/bin/sh', '-c', 'exec "$@" </dev/null 2>&1', 'sh'] as const;

/**
 * Resolves with the exit code or the signal that ended the child. If the child could not be started, the code is 127,
 * as in a shell.
 */
export function exitOf(child: ChildProcess): Promise<Omit<Exit, 'isOutOfMemory'>> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(signal === null ? fromStatus(code ?? 127) : { code: null, signal }),
    );
    child.once('error', () => resolve({ code: 127, signal: null }));
  });
}

const MAX_COMPLAINT_BYTES = 4096;
// pasta prints these messages on machines without syslog, a nameserver or an IPv6 route. They are no errors.
const HARMLESS =
  /^(Failed to send \d|Couldn't get any nameserver|No (external )?routable interface for IPv6)/;

/**
 * Returns the command's output as it comes, then the standard error of the wrappers (pasta, bwrap). The wrappers print
 * only if they fail, so the reason for a failed start comes last.
 */
function outputOf(stdout: Readable, { stderr }: ChildProcess): Readable {
  if (stderr === null) throw new Error('The child was started without a pipe.');
  let complaint = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(0, MAX_COMPLAINT_BYTES);
  });
  const stderrEnd = new Promise<void>((resolve) => {
    stderr.once('close', resolve);
  });
  async function* chunks(source: Readable): AsyncGenerator<Uint8Array> {
    yield* source;
    await stderrEnd;
    const words = complaint.split('\n').filter((line) => line !== '' && !HARMLESS.test(line));
    if (words.length > 0) yield Buffer.from(`${words.join('\n')}\n`);
  }
  return Readable.from(chunks(stdout), { objectMode: false });
}
