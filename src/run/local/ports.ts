import { once } from 'node:events';
import { createServer } from 'node:net';

// Below the range that Linux takes ports of outgoing connections from (32768 and up), above the well-known ones.
const FIRST = 20_000;
const COUNT = 12_000;

/** Hands out ports of 127.0.0.1, each to one process at a time. */
export class Ports {
  readonly #taken = new Set<number>();

  /** A port that is free now; another program may take it before it is used. */
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

/** Whether nothing listens there. */
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
