import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';

/** A pipe, from the side that reads it and the descriptor that is written to. */
export interface OutputPipe {
  readonly reader: Readable;
  /** Closed by `closeWriter` once the child has its own, so that the reader sees the end. */
  readonly writer: number;
  /** How the link of an open descriptor in /proc ends: the name is gone. */
  readonly linkEnding: string;
  closeWriter(): void;
}

/**
 * A real pipe. What Node gives its children is a socket, and a program that opens /dev/stdout (nginx, Apache,
 * gunicorn with a log file of that name) cannot open that; and as another user it could not open a pipe either
 * unless anybody may. The name is gone at once, so nobody else gets at it.
 */
export function openPipe(folder: string): OutputPipe {
  const path = join(folder, `pipe-${randomUUID()}`);
  const made = spawnSync('/usr/bin/mkfifo', ['-m', '666', path], { env: {}, stdio: 'ignore' });
  if (made.status !== 0) throw new Error('A pipe for output could not be made.', { cause: made.error });
  try {
    // Not blocking, or each side would wait here for the other.
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openWriter(path, reader);
    return {
      reader: new Socket({ fd: reader, readable: true, writable: false }),
      writer,
      linkEnding: `/${basename(path)} (deleted)`,
      closeWriter: () => closeSync(writer),
    };
  } finally {
    unlinkSync(path);
  }
}

function openWriter(path: string, reader: number): number {
  try {
    return openSync(path, constants.O_WRONLY);
  } catch (error) {
    closeSync(reader);
    throw error;
  }
}
