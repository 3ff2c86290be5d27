import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { withPipes } from '../../core/child-pipes.ts';
import { holdersOf } from './process-table.ts';

/** A pipe for a child’s output. The server reads from a stream, and the child writes to a descriptor. */
export interface OutputPipe {
  readonly reader: Readable;
  /**
   * The descriptor of the pipe's writing side. Close it with `closeWriter` once the child has its own copy: the reader
   * sees the end of the output only when no writing side is open.
   */
  readonly writer: number;
  closeWriter(): void;
  /**
   * Returns the ids of the processes that have the pipe open, except this server and the process `cat` that reads from
   * the pipe.
   */
  writers(): number[];
}

/**
 * Opens a real pipe. Node.js would give children a socket, which programs such as nginx, Apache and gunicorn cannot
 * open as /dev/stdout. The FIFO has mode 666, so that a child that runs as another user can open it. Its name is
 * deleted at once, so that nobody else can open it.
 *
 * This server does not read from the pipe itself. While a program writes to a pipe, the kernel locks the pipe and reads
 * the memory of the program. A tool can make that last for minutes: its memory can be a file that the kernel must read
 * from the disk, and its other processes can use all processors. Until the kernel unlocks the pipe, a reader waits,
 * even if its descriptor does not block. So `cat` reads, and this server gets the output through a socket, which has no
 * such lock.
 */
export function openPipe(folder: string): OutputPipe {
  const path = join(folder, `pipe-${randomUUID()}`);
  const made = spawnSync('/usr/bin/mkfifo', ['-m', '666', path], { env: {}, stdio: 'ignore' });
  if (made.status !== 0) throw new Error('A pipe for output could not be made.', { cause: made.error });
  const opened: number[] = [];
  const open = (flags: number): number => {
    const descriptor = openSync(path, flags);
    opened.push(descriptor);
    return descriptor;
  };
  try {
    // Open the FIFO for reading without blocking first. Otherwise, the next two calls would wait for ever: opening a
    // FIFO for writing waits for a reader, and opening it for reading waits for a writer.
    open(constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = open(constants.O_WRONLY);
    const cat = startCat(open(constants.O_RDONLY));
    opened.splice(opened.indexOf(writer), 1);
    const linkEnding = `/${basename(path)} (deleted)`;
    return {
      reader: cat.stdout,
      writer,
      closeWriter: () => closeSync(writer),
      writers: () => holdersOf(linkEnding).filter((holder) => holder !== cat.pid),
    };
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
    unlinkSync(path);
  }
}

/** Starts `cat`. `cat` ends when no process has the pipe open for writing any more, or when nobody reads its output. */
function startCat(input: number) {
  // `cat` gets a session of its own, so that Ctrl-C at the server's terminal reaches only the server.
  const cat = withPipes(spawn('/bin/cat', [], { env: {}, stdio: [input, 'pipe', 'ignore'], detached: true }));
  cat.on('error', () => {});
  const { pid, stdout } = cat;
  if (pid === undefined || stdout === null)
    throw new Error('The program that reads a pipe for output could not be started.');
  // When a child ends, Node.js reads and drops the output that nobody has begun to read. A listener prevents that: a
  // stream with a listener of `readable` keeps its data until somebody reads.
  stdout.on('readable', () => {});
  // The server keeps running while the output of `cat` is open. The process `cat` itself need not keep it running.
  cat.unref();
  return { pid, stdout };
}
