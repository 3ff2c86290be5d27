import { DeployError } from '../core/errors.ts';
import { inPieces, outputTime } from '../core/fair-share/time-shares.ts';
import type { Log } from '../core/log/log.ts';
import type { ToolName } from '../core/names.ts';
import { took } from '../core/text/duration.ts';
import { LogLines } from './logs/log-lines.ts';
import type { ToolLog } from './logs/tool-log.ts';
import { type RunOneOff, shownCommand } from './one-offs.ts';
import type { DetachedOneOff, OneOff, OneOffEnd } from './runtime.ts';

export interface DetachedOneOffsOptions {
  /** The method `OneOffs.run`. */
  readonly run: (oneOff: OneOff, start: RunOneOff) => Promise<OneOffEnd>;
  readonly toolLog: (tool: ToolName) => ToolLog;
  readonly log: Log;
}

/**
 * Runs one-off commands for which no client waits. The tool's log gets the start, the output and the end of each
 * command.
 */
export class DetachedOneOffs {
  readonly #options: DetachedOneOffsOptions;
  /** The controllers that end the running commands. The keys are made of the tool and the name of the command. */
  readonly #running = new Map<string, AbortController>();
  readonly #ends = new Set<Promise<void>>();

  constructor(options: DetachedOneOffsOptions) {
    this.#options = options;
  }

  /**
   * Begins to start a command, and resolves with the name of the command, such as `run.1`.
   *
   * @throws DeployError `TOO_MANY_ONE_OFFS`, `ARTIFACT_UNUSABLE` or `SHUTTING_DOWN` for the reasons of `OneOffs.run`.
   * The tool's log reports every later failure.
   */
  async start(wanted: DetachedOneOff, start: RunOneOff): Promise<string> {
    const { tool, version } = wanted.release;
    const toolLog = this.#options.toolLog(tool);
    const ending = new AbortController();
    const begun = Promise.withResolvers<string>();
    const startedAt = performance.now();
    const [output, errors] = [new LogLines(), new LogLines()];
    let name = '';
    const over = new AbortController();
    let forbidden: unknown = null;
    const say = (text: string) => toolLog.append('push', [text], version);
    const take = (lines: LogLines) => async (chunk: Uint8Array) => {
      const texts: string[] = [];
      for (const piece of inPieces(chunk))
        texts.push(...(await outputTime.run(String(wanted.toolNumber), () => lines.push(piece))));
      await toolLog.append(name, texts, version);
    };
    const end = this.#options.run(
      {
        ...{ ...wanted, terminal: null, input: nothing(), signal: ending.signal },
        ...{ output: take(output), errors: take(errors) },
      },
      async (oneOff, given) => {
        name = given;
        this.#running.set(key(tool, name), ending);
        await say(`${name} started: ${shownCommand(wanted.command)}`);
        begun.resolve(name);
        wanted.untilForbidden?.(over.signal).catch((error: unknown) => {
          forbidden = error;
          ending.abort();
        });
        return await start(oneOff, given);
      },
    );
    const told = end.then(
      async ({ status, why }) => {
        await toolLog.append(name, [...output.end(), ...errors.end()], version);
        const reason = why ?? reasonOf(forbidden);
        const words =
          reason === null ? `ended with status ${status}` : `ended with status ${status}: ${reason}`;
        await say(`${name} ${words} after ${took(performance.now() - startedAt)}`);
      },
      async (error: unknown) => {
        if (name === '') throw error;
        const why = error instanceof DeployError ? error.message : 'the server failed';
        if (!(error instanceof DeployError) && !ending.signal.aborted)
          this.#options.log.error({ err: error, tool, process: name }, 'a detached command failed');
        await say(
          ending.signal.aborted
            ? [`${name} was ended`, reasonOf(forbidden)].filter((word) => word !== null).join(': ')
            : `${name} failed: ${why}`,
        );
      },
    );
    const all = told.finally(() => {
      over.abort();
      this.#ends.delete(all);
      // By now, a later command may have the same name. Its entry in `#running` must stay.
      if (this.#running.get(key(tool, name)) === ending) this.#running.delete(key(tool, name));
    });
    this.#ends.add(all);
    // If the command is refused before it has a name, `all` rejects, and so does this call. Only the tool's log reports
    // a later failure.
    return await Promise.race([begun.promise, all.then(() => name)]);
  }

  /** Resolves when the logs of the tools say how each command ended. Call this after `OneOffs.close`. */
  async logged(): Promise<void> {
    await Promise.allSettled([...this.#ends]);
  }

  /** Begins to end all detached commands of a tool, and returns at once. */
  endAll(tool: ToolName): void {
    for (const [running, ending] of this.#running) if (running.startsWith(key(tool, ''))) ending.abort();
  }

  /**
   * Begins to end a detached command, and returns at once.
   *
   * @returns false if the tool runs no detached command of this name.
   */
  end(tool: ToolName, name: string): boolean {
    const ending = this.#running.get(key(tool, name));
    ending?.abort();
    return ending !== undefined;
  }
}

function reasonOf(error: unknown): string | null {
  return error instanceof DeployError ? error.message : null;
}

function key(tool: string, name: string): string {
  return `${tool} ${name}`;
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
