import type { DiskRoom } from './core/disk/disk-space.ts';
import type { Log } from './core/log/log.ts';
import type { HealthQuestions } from './http/http-door.ts';
import { type CheckedStore, StoreHealth } from './store/store-health.ts';

export interface ServerHealthParts {
  /** The space on the disk of the data folder. */
  readonly room: DiskRoom;
  readonly store: CheckedStore;
  readonly log: Log;
}

const LOOK_MS = 10_000;

/**
 * Finds out whether this server is well, for `/readyz`, `/healthz` and the log.
 *
 * A disk that is nearly full does not make the server unready: pages, fetches and commands still work, and a push is
 * refused with the reason. If the store cannot be written or is damaged, the server is not ready.
 */
export class ServerHealth implements HealthQuestions {
  readonly #parts: ServerHealthParts;
  readonly #store: StoreHealth;
  readonly #timer: NodeJS.Timeout;
  #isClosing = false;
  #told: string | null = null;

  constructor(parts: ServerHealthParts) {
    this.#parts = parts;
    this.#store = new StoreHealth(parts.store);
    this.#timer = setInterval(() => void this.#look(), LOOK_MS).unref();
  }

  async ready(): Promise<string | null> {
    return this.#isClosing ? 'the server is being stopped' : await this.#store.complaint();
  }

  async health(): Promise<string | null> {
    return (await this.ready()) ?? (await this.#parts.room.complaint());
  }

  /** From this call on, `ready` and `health` report that the server is being stopped. */
  close(): void {
    this.#isClosing = true;
    clearInterval(this.#timer);
  }

  /** Logs once when something is wrong, and once when the server is well again. */
  async #look(): Promise<void> {
    const { log } = this.#parts;
    try {
      const complaint = await this.health();
      if (this.#isClosing) return;
      // Drop the text in parentheses, which names the free space, so that the same complaint is logged only once.
      const kind = complaint?.replace(/\(.*\)/, '') ?? null;
      if (kind === this.#told) return;
      this.#told = kind;
      if (complaint === null) log.info('server well again');
      else log.error({ complaint }, 'server not well');
    } catch (err) {
      log.error({ err }, 'cannot find out whether the server is well');
    }
  }
}
