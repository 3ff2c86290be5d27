import { constants } from 'node:os';
import type { Config } from '../config.ts';
import { assertArtifactUsable } from '../core/assert-artifact-usable.ts';
import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import { oneLine } from '../core/progress.ts';
import { ONE_OFF_TYPE } from '../core/replicas.ts';
import { type RunMode, whyUnusable } from '../sandbox/build-mode.ts';
import type { Exit } from '../sandbox/sandbox.ts';
import type { OneOff, OneOffEnd, ProcessStatus } from './runtime.ts';
import { mostMemory } from './service-limits.ts';
import { exitWords, wasOverLimit } from './words/exit-words.ts';

export type OneOffConfig = Pick<
  Config,
  'concurrent_one_offs' | 'one_off_time' | 'run_memory' | 'build_environment'
>;

/**
 * Runs a one-off command. Resolves when the command has ended and the client has got all output, or when the server has
 * given up on a client that does not read its output (`untilGivenUp`). When `oneOff.signal` fires, asks the process to
 * end, and kills the process after the grace time.
 */
export type RunOneOff = (oneOff: OneOff, name: string) => Promise<Exit>;

interface Entry {
  readonly oneOff: OneOff;
  readonly number: number;
  readonly startedAt: number;
  readonly gone: Promise<unknown>;
  /** Aborting this controller ends the command. */
  readonly ending: AbortController;
  isEnding: boolean;
}

/** Counts the running one-off commands, limits their time, and lists them for `ps`. Every Runtime uses this class. */
export class OneOffs {
  readonly #config: OneOffConfig;
  readonly #mode: RunMode;
  readonly #entries = new Set<Entry>();
  readonly #closing = new AbortController();

  constructor(config: OneOffConfig, mode: RunMode) {
    this.#config = config;
    this.#mode = mode;
  }

  /**
   * Takes one of the tool's places for one-off commands, without waiting for a free place, and runs the command.
   *
   * @throws DeployError `TOO_MANY_ONE_OFFS` if all places are taken; `SHUTTING_DOWN` if this server is being stopped;
   * `ARTIFACT_UNUSABLE` if the artifact cannot run with the present settings; `ONE_OFF_FAILED` if the command was not
   * started within `one_off_time`, or if the tool was ended or renamed before the command started; the error of
   * `start`.
   */
  async run(oneOff: OneOff, start: RunOneOff): Promise<OneOffEnd> {
    const { one_off_time, run_memory } = this.#config;
    const number = this.#takeNumber(oneOff.release.tool);
    assertArtifactUsable(oneOff.release, whyUnusable(oneOff.release.artifact, this.#mode));
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const ending = new AbortController();
    const entry: Entry = { oneOff, number, startedAt: Date.now(), gone, ending, isEnding: false };
    this.#entries.add(entry);
    const limit = AbortSignal.timeout(one_off_time);
    const signal = AbortSignal.any([oneOff.signal, this.#closing.signal, ending.signal, limit]);
    signal.addEventListener('abort', () => {
      entry.isEnding = true;
    });
    try {
      const exit = await start({ ...oneOff, signal }, `${ONE_OFF_TYPE}.${number}`);
      const isLate = limit.aborted && signal.reason === limit.reason;
      return {
        status: statusOf(exit),
        why: isLate ? tooLate(one_off_time) : this.#why(exit, mostMemory(oneOff.release, run_memory)),
      };
    } catch (error) {
      // If `start` throws the reason of `signal`, the command was ended before it ran, so it has no exit status. If the
      // caller ended the command by `oneOff.signal`, throw the reason that the caller gave. Otherwise throw a
      // DeployError that gives the reason.
      if (error !== signal.reason || oneOff.signal.aborted) throw error;
      if (ending.signal.aborted)
        throw new DeployError(
          'ONE_OFF_FAILED',
          'the tool was ended or renamed before the command started',
          'Run the command again.',
        );
      throw this.#closing.signal.aborted
        ? shuttingDown()
        : new DeployError(
            'ONE_OFF_FAILED',
            `the command was not started within ${one_off_time / 1000} s (one_off_time)`,
            'Run the command again; if it fails again, tell the operator.',
          );
    } finally {
      this.#entries.delete(entry);
      resolve();
    }
  }

  statuses(tool: ToolName): ProcessStatus[] {
    return this.#of(tool).map(({ oneOff, number, startedAt, isEnding }) => ({
      name: `${ONE_OFF_TYPE}.${number}`,
      version: oneOff.release.version,
      state: isEnding ? 'stopping' : 'up',
      command: shownCommand(oneOff.command),
      startedAt,
      restarts: 0,
      detail: oneOff.beside === undefined ? null : `beside ${oneOff.beside}`,
    }));
  }

  artifacts(tool: ToolName): ReadonlySet<string> {
    return new Set(this.#of(tool).map(({ oneOff }) => oneOff.release.artifact.id));
  }

  /** Ends all one-off commands and accepts no more. Resolves when all have ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#entries].map(({ gone }) => gone));
  }

  /** Ends the one-off commands of a tool. Resolves when they have ended. */
  async endAll(tool: ToolName): Promise<void> {
    const entries = this.#of(tool);
    for (const { ending } of entries) ending.abort();
    await Promise.all(entries.map(({ gone }) => gone));
  }

  #of(tool: string): Entry[] {
    return [...this.#entries].filter(({ oneOff }) => oneOff.release.tool === tool);
  }

  #takeNumber(tool: ToolName): number {
    const { concurrent_one_offs } = this.#config;
    if (this.#closing.signal.aborted) throw shuttingDown();
    const taken = new Set(this.#of(tool).map(({ number }) => number));
    if (taken.size >= concurrent_one_offs) {
      throw new DeployError(
        'TOO_MANY_ONE_OFFS',
        `${taken.size} commands of the tool ${tool} run already, and no more are allowed (concurrent_one_offs)`,
        `\`ps ${tool}\` lists them. Wait until one has ended, or end one: \`run --end NAME ${tool}\` if it was started with --detach, otherwise with Ctrl-C where it was started.`,
      );
    }
    let number = 1;
    while (taken.has(number)) number += 1;
    return number;
  }

  #why(exit: Exit, memoryBytes: number): string | null {
    if (wasOverLimit(exit)) return `The command ${exitWords(exit, memoryBytes)}.`;
    return this.#closing.signal.aborted ? 'The command was ended: this server is being stopped.' : null;
  }
}

function shuttingDown(): DeployError {
  return new DeployError('SHUTTING_DOWN', 'this server is being stopped', 'Try again in a minute.');
}

function tooLate(timeMs: number): string {
  return `The command took longer than ${timeMs / 1000} s and was ended (one_off_time).`;
}

/** Returns the exit status of a command as a shell reports it. */
function statusOf({ code, signal }: Exit): number {
  return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
}

/** Shows only the first word of a command, because the other words may be secrets and other people read `ps` too. */
export function shownCommand([program = '', ...rest]: readonly string[]): string {
  // A word of a command may contain a line feed. In `ps` and in the tool's log, the text after it would look like a
  // line from this server. So show the word in one line.
  const shown = oneLine(program);
  return rest.length === 0 ? shown : `${shown} …`;
}
