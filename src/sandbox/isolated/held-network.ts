import { closeSync, openSync } from 'node:fs';
import { childrenOf } from '../process/process-table.ts';
import type { SharedNetwork } from '../sandbox.ts';

/** The line that the shell in the network prints as soon as the routes of the fence are set. */
export const READY = 'ready';

/** pasta, which started a shell in a new network. Both run until `end` is called. */
export interface NetworkHolder {
  readonly pid: number;
  readonly output: AsyncIterable<Uint8Array>;
  readonly exited: Promise<unknown>;
  end(): void;
}

/**
 * A network that pasta keeps until this object is disposed. Commands enter the namespaces of the network through open
 * descriptors. So no command needs its own process of pasta, which takes longer to start and end than the rest of a
 * sandbox.
 */
export class HeldNetwork implements SharedNetwork {
  readonly #holder: NetworkHolder;
  #descriptors: readonly [user: number, net: number] | null = null;

  constructor(holder: NetworkHolder) {
    this.#holder = holder;
    void this.#open();
    void holder.exited.then(() => this.#close());
  }

  /**
   * Open descriptors of the user namespace and the network namespace. Null until the network is ready, and after it has
   * ended. A network that could not start never gets ready.
   */
  get descriptors(): readonly [user: number, net: number] | null {
    return this.#descriptors;
  }

  /** The process id of pasta, which connects the network to the network of this machine. */
  get pid(): number {
    return this.#holder.pid;
  }

  [Symbol.dispose](): void {
    this.#close();
    this.#holder.end();
  }

  async #open(): Promise<void> {
    let said = '';
    for await (const chunk of this.#holder.output) {
      said = (said + Buffer.from(chunk).toString()).slice(0, READY.length + 1);
      if (said === `${READY}\n`) this.#descriptors ??= openNamespaces(this.#holder.pid);
    }
  }

  #close(): void {
    this.#descriptors?.forEach(closeSync);
    this.#descriptors = null;
  }
}

/** Returns descriptors of the user and network namespaces of pasta's only child. Null if that child has ended. */
function openNamespaces(pastaPid: number): readonly [user: number, net: number] | null {
  const opened: number[] = [];
  try {
    const [inside] = childrenOf(pastaPid);
    for (const name of ['user', 'net']) opened.push(openSync(`/proc/${inside}/ns/${name}`, 'r'));
    const [user, net] = opened;
    if (user !== undefined && net !== undefined) return [user, net];
  } catch {
    opened.forEach(closeSync);
  }
  return null;
}
