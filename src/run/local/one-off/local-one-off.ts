import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { DeployError } from '../../../core/errors.ts';
import type { Exit, SandboxProcess } from '../../../sandbox/sandbox.ts';
import { runTree } from '../../../stack/stacks.ts';
import { inTerminal, OPENED, onPipes, processOf, SCRIPT, untilGivenUp } from '../../one-off-command.ts';
import type { OneOff } from '../../runtime.ts';
import { mostMemory } from '../../service-limits.ts';
import { makeRunFolders } from '../processes/run-folders.ts';
import {
  artifactMounts,
  environment,
  INSIDE_PORT,
  LARGEST_FILE_BYTES,
  type RunParts,
  withinDisk,
} from '../processes/running-process.ts';
import { OneOffPipes } from './one-off-pipes.ts';

const MAX_WORDS_CHARACTERS = 4096;

/**
 * Runs a one-off command in a sandbox with new folders, like the processes of the tool.
 *
 * @param name - The name of the process, such as `run.1`.
 * @throws DeployError `NO_TERMINAL` as `assertTerminal` does; `ONE_OFF_FAILED` if the command could not be started; the
 * reason of `oneOff.signal` if it fired before the command ran.
 */
export async function runLocally(oneOff: OneOff, name: string, parts: RunParts): Promise<Exit> {
  const tree = runTree(oneOff.release.artifact.reference);
  if (oneOff.terminal !== null) assertTerminal(tree);
  const replica = (await parts.replicaFile?.(oneOff.release.tool)) ?? null;
  const place = await makeRunFolders(parts.folder, oneOff.toolNumber, parts, replica);
  try {
    await using pipes = await OneOffPipes.make(parts.folder, oneOff.toolNumber, parts.sandbox);
    const command = await commandOf(oneOff, name, { parts, place, pipes, tree });
    const process = await parts.runTurns.run(oneOff.release.tool, async () => {
      oneOff.signal.throwIfAborted();
      return parts.sandbox.start({ ...command, endsFirst: true });
    });
    return await new LocalOneOff(oneOff, withinDisk(process, place, parts), pipes, parts).untilEnded();
  } finally {
    await place.remove();
  }
}

/**
 * Checks that commands can have a terminal.
 *
 * @param tree - The root folder of the Debian tree that the command sees. Null for this machine's own /usr.
 * @throws DeployError `NO_TERMINAL` if this tree lacks the program script(1).
 */
export function assertTerminal(tree: string | null): void {
  if (existsSync(join(tree ?? '/', SCRIPT))) return;
  throw new DeployError(
    'NO_TERMINAL',
    `this server cannot give the command a terminal, because it lacks ${SCRIPT}`,
    'Run the command without a terminal (ssh -T), or ask the operator to install util-linux.',
  );
}

interface Around {
  readonly parts: RunParts;
  readonly place: Awaited<ReturnType<typeof makeRunFolders>>;
  readonly pipes: OneOffPipes;
  /** The root folder of the release's Debian tree. Null if the release runs on this machine's own /usr. */
  readonly tree: string | null;
}

async function commandOf(oneOff: OneOff, name: string, { parts, place, pipes, tree }: Around) {
  const { release, toolNumber, terminal } = oneOff;
  const { sandbox, config } = parts;
  const { workspace, layers } = artifactMounts(release, place);
  const process = processOf(release, oneOff.command);
  const { port = INSIDE_PORT } = release.artifact.service;
  const env = await environment({ release, process }, parts, { place, layers, port });
  const folder = sandbox.path(pipes.mount);
  const argv = terminal === null ? process.command : inTerminal(folder, terminal.size, process.command);
  return {
    name: `${name} of ${release.tool}`,
    argv: onPipes(folder, argv),
    env: terminal === null ? env : { ...env, TERM: terminal.type, SHELL: '/bin/sh' },
    cwd: sandbox.path(workspace),
    mounts: [workspace, ...(layers === null ? [] : [layers]), ...place.mounts, pipes.mount],
    tree,
    toolNumber,
    limits: {
      processes: config.run_processes,
      memoryBytes: mostMemory(release, config.run_memory),
      fileBytes: LARGEST_FILE_BYTES,
    },
    publish: null,
  };
}

/** A one-off command whose process has been started. */
class LocalOneOff {
  readonly #oneOff: OneOff;
  readonly #process: SandboxProcess;
  readonly #pipes: OneOffPipes;
  readonly #parts: RunParts;
  #hasOpened = false;
  #taken: Promise<unknown> = Promise.resolve();

  constructor(oneOff: OneOff, process: SandboxProcess, pipes: OneOffPipes, parts: RunParts) {
    this.#oneOff = oneOff;
    this.#process = process;
    this.#pipes = pipes;
    this.#parts = parts;
  }

  async untilEnded(): Promise<Exit> {
    const { signal, terminal } = this.#oneOff;
    const ended = new AbortController();
    void this.#endWith(signal, ended.signal);
    terminal?.onResize((size) => this.#pipes.resize(size));
    // The size of the client's terminal may have changed since the command was created. So set the size that it has
    // now.
    if (terminal !== null) this.#pipes.resize(terminal.size);
    const words = this.#watchWrapping();
    const exit = await this.#process.exited;
    ended.abort();
    const said = await words;
    if (!this.#hasOpened) {
      signal.throwIfAborted();
      this.#parts.log.error({ said, exit }, 'cannot start a one-off');
      throw new DeployError(
        'ONE_OFF_FAILED',
        'the command could not be started',
        'Run the command again. If it fails again, tell the operator: the log of the server says more.',
      );
    }
    await this.#taken;
    return exit;
  }

  /**
   * Reads the output of the script that `onPipes` puts around the command. As soon as the script has opened the pipes,
   * connects the client's streams. Resolves when this output ends.
   *
   * @returns the first output of the script: `OPENED`, or the reason why the command could not be started.
   */
  async #watchWrapping(): Promise<string> {
    let words = '';
    for await (const chunk of this.#process.output) {
      words = (words + String(chunk)).slice(0, MAX_WORDS_CHARACTERS);
      if (this.#hasOpened || !words.startsWith(OPENED)) continue;
      this.#hasOpened = true;
      this.#begin();
    }
    return words;
  }

  #begin(): void {
    const { input, output, errors, signal } = this.#oneOff;
    // The input is not awaited, because a command may end before it has read its input.
    void feed(input, this.#pipes.input);
    const all = Promise.all([drain(this.#pipes.output, output), drain(this.#pipes.errors, errors)]);
    this.#taken = Promise.race([all, untilGivenUp(this.#process.exited, signal)]);
    // If the client cannot take the output, `#taken` rejects. `untilEnded` throws this error later, when the command
    // has ended. Without this `catch`, Node.js would end the server before that.
    this.#taken.catch(() => {});
  }

  async #endWith(signal: AbortSignal, ended: AbortSignal): Promise<void> {
    if (!signal.aborted) await once(signal, 'abort', { signal: ended }).catch(() => {});
    if (ended.aborted) return;
    this.#pipes.hangUp();
    // `hangUp` sends SIGHUP to a command that has begun in a terminal, so send no SIGTERM: it would reach script(1),
    // which gives the command only two seconds to end. Other commands get no SIGHUP, so send SIGTERM.
    if (this.#oneOff.terminal === null || !this.#hasOpened) this.#process.terminate();
    await wait(this.#parts.config.grace_time, null, { signal: ended }).catch(() => {});
    if (!ended.aborted) this.#process.kill();
  }
}

async function drain(source: Readable, take: (chunk: Uint8Array) => Promise<void>): Promise<void> {
  for await (const chunk of source) await take(chunk as Uint8Array);
}

/** Passes the client's input on to the command, as fast as the command reads. Never rejects. */
export async function feed(input: AsyncIterable<Uint8Array>, writer: Writable): Promise<void> {
  try {
    for await (const chunk of input) {
      if (writer.destroyed) return;
      // If the pipe has been closed, `write` calls its callback too, so this wait always ends.
      await new Promise<void>((resolve) => writer.write(chunk, () => resolve()));
    }
    writer.end();
  } catch {
    // Ignore the error, and close the command's input: the client has disconnected, or the command has closed its
    // input.
    writer.destroy();
  }
}
