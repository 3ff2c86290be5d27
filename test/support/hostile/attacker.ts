import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Kind, Target } from './attacks.ts';

type Done = Readonly<Record<string, number>>;

const END_MS = 60_000;

/**
 * Runs attacks in a process of their own. The process has a low priority (nice 10), because real attackers do not take
 * processor time from the server.
 */
export class Attacker implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #begun: Promise<unknown>;
  readonly #ended: Promise<unknown>;
  /** How much each attack has done, by its name. */
  #done: Done = {};

  constructor(kind: Kind, target: Target) {
    this.#child = fork(join(import.meta.dirname, 'attacker-process.ts'), [JSON.stringify({ kind, target })], {
      execPath: 'nice',
      execArgv: ['-n', '10', process.execPath],
    });
    this.#child.on('message', (message) => {
      this.#done = message as Done;
    });
    this.#begun = once(this.#child, 'message');
    this.#ended = once(this.#child, 'exit');
  }

  /** Waits until each attack has done something, or all have ended. */
  async begun(): Promise<void> {
    await Promise.race([this.#begun, this.#ended]);
  }

  /** Ends all attacks, after a minute with SIGKILL. @returns how much each attack has done, by its name. */
  async end(): Promise<Done> {
    if (this.#child.connected) this.#child.send('end');
    const limit = setTimeout(() => this.#child.kill('SIGKILL'), END_MS);
    await this.#ended;
    clearTimeout(limit);
    return this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
