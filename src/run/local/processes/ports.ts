import { once } from 'node:events';
import { createServer } from 'node:net';

// Processes get random ports from 20,000 to 31,999. These are above the well-known ports, and below the ports that
// Linux uses for outgoing connections by default (32,768 and up).
const FIRST = 20_000;
const COUNT = 12_000;

/** Assigns ports of 127.0.0.1, each to one process at a time. */
export class Ports {
  readonly #taken = new Set<number>();

  /** Returns a port that is free now. Another program may take the port before the process uses it. */
  async take(): Promise<number> {
    for (let count = 0; count < 1000; count += 1) {
      const port = FIRST + Math.floor(Math.random() * COUNT);
      if (this.#taken.has(port)) continue;
      this.#taken.add(port);
      if (await isFree(port)) return port;
      this.#taken.delete(port);
    }
    throw new Error('No free port was found on 127.0.0.1.');
  }

  giveBack(port: number): void {
    this.#taken.delete(port);
  }
}

/** True if no program listens on this port of 127.0.0.1. */
export async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
