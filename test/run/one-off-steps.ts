import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Release } from '../../src/core/types.ts';
import type { OneOff, OneOffEnd, Runtime, Terminal, TerminalSize } from '../../src/run/runtime.ts';

export interface OneOffSteps {
  readonly input?: string | AsyncIterable<Uint8Array>;
  readonly terminal?: Terminal;
  readonly signal?: AbortSignal;
  readonly output?: (chunk: Uint8Array) => Promise<void>;
  readonly toolNumber?: number;
  /** The process beside which the command runs (`exec`). */
  readonly beside?: string;
}

/** A running one-off whose client reads its output. */
export class RunningOneOff {
  readonly #chunks: Uint8Array[] = [];
  bytes = 0;
  err = '';
  readonly end: Promise<OneOffEnd>;
  readonly #seen = new PassThrough();

  constructor(runtime: Runtime, release: Release, command: readonly string[], steps: OneOffSteps) {
    const { input = '', terminal = null, signal = new AbortController().signal } = steps;
    this.#seen.resume();
    const oneOff: OneOff = {
      release,
      toolNumber: steps.toolNumber ?? 1,
      command,
      terminal,
      input: typeof input === 'string' ? bytesOf(input) : input,
      output: async (chunk) => {
        this.#chunks.push(Buffer.from(chunk));
        this.bytes += chunk.length;
        this.#seen.write('.');
        await steps.output?.(chunk);
      },
      errors: async (chunk) => {
        this.err += String(Buffer.from(chunk));
      },
      signal,
    };
    this.end =
      steps.beside === undefined
        ? runtime.run(oneOff)
        : runtime.exec({ ...oneOff, tool: release.tool, process: steps.beside });
    this.end.catch(() => {});
  }

  get out(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.out.toString();
  }

  /** Resolves when the output so far matches the pattern. Throws after 60 s. */
  async shows(pattern: RegExp): Promise<void> {
    const signal = AbortSignal.timeout(60_000);
    while (!pattern.test(this.text)) {
      await once(this.#seen, 'data', { signal }).catch(() => {
        throw new Error(`${pattern} was not shown within 60 s: ${this.text.slice(-2000)} ${this.err}`);
      });
    }
  }
}

export function startOneOff(
  runtime: Runtime,
  release: Release,
  command: readonly string[],
  steps: OneOffSteps = {},
): RunningOneOff {
  return new RunningOneOff(runtime, release, command, steps);
}

/** Runs a one-off to its end. */
export async function oneOff(
  runtime: Runtime,
  release: Release,
  command: readonly string[],
  steps: OneOffSteps = {},
): Promise<OneOffEnd & { readonly out: string; readonly err: string }> {
  const running = new RunningOneOff(runtime, release, command, steps);
  const end = await running.end;
  return { ...end, out: running.text, err: running.err };
}

/** A fake terminal, which types and resizes like a person. */
export class Keyboard implements Terminal {
  readonly type = 'xterm';
  size: TerminalSize = { columns: 100, rows: 30 };
  readonly keys = new PassThrough();
  #listener: (size: TerminalSize) => void = () => {};

  onResize(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
  }

  resize(columns: number, rows: number): void {
    this.size = { columns, rows };
    this.#listener(this.size);
  }

  press(keys: string): void {
    this.keys.write(keys);
  }
}

/** Python code that waits for SIGWINCH, prints the new size of the terminal, and ends with code 4. */
const WAITS_FOR_SIZE = `import os, signal, time
def tell(*_): os.system('stty size'); os._exit(4)
signal.signal(signal.SIGWINCH, tell); print('waiting', flush=True)
while True: time.sleep(1)`;

/**
 * Runs a command at a terminal, types into it, and resizes it. Asserts that the command gets the size and the type of the
 * terminal, Ctrl-C and the new size, and ends with its own exit status.
 *
 * @param beside - The process beside which the command runs (`exec`).
 */
export async function useTerminal(
  runtime: Runtime,
  release: Release,
  beside?: string,
): Promise<RunningOneOff> {
  const keyboard = new Keyboard();
  const script = [
    'stty size; echo "$TERM"; test -t 0 && test -t 1 && test -t 2 && echo all >&2',
    // bash may note Ctrl-C just before it waits for a line, and runs the trap only after the wait.
    'trap "echo interrupted" INT; echo ready; until read -t 0.3 -r line; do :; done; trap - INT',
    `exec python3 -c "${WAITS_FOR_SIZE}"`,
  ].join('\n');
  const running = startOneOff(runtime, release, ['bash', '-c', script], {
    ...(beside !== undefined && { beside }),
    terminal: keyboard,
    input: keyboard.keys,
  });
  await running.shows(/ready/);
  assert.match(running.text, /^30 100\r\nxterm\r\nall\r\n/);
  keyboard.press('\u0003');
  await running.shows(/interrupted/);
  keyboard.press('line\r');
  await running.shows(/waiting/);
  keyboard.resize(55, 11);
  const end = await running.end;
  assert.deepEqual(end, { status: 4, why: null }, `${JSON.stringify(end)} after ${running.text}`);
  assert.match(running.text, /11 55\r\n$/);
  return running;
}

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
