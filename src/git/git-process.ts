// Use child_process instead of execa, because callers read and write git's pipes themselves, and nothing may buffer
// them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { withPipes } from '../core/child-pipes.ts';
import { endFirst } from '../core/end-first.ts';
import { SMALL_CHUNK_BYTES } from '../core/fair-share/paced-reading.ts';

const KEPT_STDERR_BYTES = 8192;
/**
 * After a chunk of at least `SMALL_CHUNK_BYTES`, `pump` waits only if its target holds more bytes than this, because a
 * wait costs more than a write. After a smaller chunk, `pump` waits as soon as its target is full.
 */
const MAX_WAITING_BYTES = 1024 * 1024;

/** A running git. */
export interface GitProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves with git's exit status, or null if a signal killed git. Rejects if git could not be started. */
  readonly status: Promise<number | null>;
  /** Returns the signal that killed git. Null while git runs, and if git exited by itself. */
  signal(): NodeJS.Signals | null;
  /** Returns what git has written to standard error so far, at most the first 8 KiB. */
  stderr(): string;
  /** Sends SIGTERM to git and its children. Does nothing if git has exited by itself. */
  kill(): void;
}

/**
 * Starts git with exactly this environment, in its own process group.
 *
 * @throws Error if no file descriptors are left.
 */
export function startGit(args: readonly string[], environment: Readonly<Record<string, string>>): GitProcess {
  const child = withPipes(spawn('git', args, { env: environment, stdio: 'pipe', detached: true }));
  endFirst(child.pid);
  const kept: Buffer[] = [];
  let keptBytes = 0;
  child.stderr.on('data', (chunk: Buffer) => {
    if (keptBytes < KEPT_STDERR_BYTES) kept.push(chunk.subarray(0, KEPT_STDERR_BYTES - keptBytes));
    keptBytes += chunk.length;
  });
  // Ignore these errors: git closes its input when it has read enough. `pump` then drops the rest of the input.
  for (const stream of [child.stdin, child.stderr]) stream.on('error', () => {});
  const status = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  });
  // Handle a git that could not be started, because some callers await `status` only after git's output. Until then,
  // the failure would be an unhandled rejection, which ends the server.
  status.catch(() => undefined);
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    status,
    signal: () => child.signalCode,
    stderr: () => Buffer.concat(kept).toString('utf8').trim(),
    kill: () => {
      try {
        if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
      } catch {
        // Nothing to kill: git has just ended by itself.
      }
    },
  };
}

/**
 * Copies the source to the target, at the pace of the slower side, then ends the target. If the target closes early,
 * reads the source to its end and drops the rest.
 */
export async function pump(source: AsyncIterable<Uint8Array>, target: Writable): Promise<void> {
  const closed = new AbortController();
  target.once('close', () => closed.abort());
  target.on('error', () => closed.abort());
  try {
    for await (const chunk of source) {
      const isOpen = !closed.signal.aborted && !target.destroyed && !target.writableEnded;
      const isFull = isOpen && !target.write(chunk);
      const mayWrite = chunk.length >= SMALL_CHUNK_BYTES && target.writableLength <= MAX_WAITING_BYTES;
      if (isFull && !mayWrite && !closed.signal.aborted) {
        await once(target, 'drain', { signal: closed.signal }).catch(() => undefined);
      }
    }
  } finally {
    if (!target.writableEnded) target.end();
  }
}
