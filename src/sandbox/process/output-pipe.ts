import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';

/** A pipe for a child's output: its reading side as a stream, its writing side as a descriptor. */
export interface OutputPipe {
  readonly reader: Readable;
  /** The writing side. Close it with `closeWriter` once the child has its own copy, so that the reader sees the end. */
  readonly writer: number;
  /**
   * The end of the path that links in `/proc/PID/fd` show for this pipe, such as `/pipe-UUID (deleted)`. Use it to find
   * the processes that have the pipe open.
   */
  readonly linkEnding: string;
  closeWriter(): void;
}

/**
 * Opens a real pipe. Node would give children a socket, which programs such as nginx, Apache and gunicorn cannot open
 * as /dev/stdout. The FIFO has mode 666, so that a child that runs as another user can open it. Its name is deleted at
 * once, so that nobody else can open it.
 */
export function openPipe(folder: string): OutputPipe {
  const path = join(folder, `pipe-${randomUUID()}`);
  const made = spawnSync('/usr/bin/mkfifo', ['-m', '666', path], { env: {}, stdio: 'ignore' });
  if (made.status !== 0) throw new Error('A pipe for output could not be made.', { cause: made.error });
  try {
    // Open without blocking, because otherwise each side would wait for the other.
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
