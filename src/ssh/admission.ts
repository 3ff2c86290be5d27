import type { Socket } from 'node:net';

export interface AdmissionLimits {
  /** From connection to login. */
  readonly graceMs: number;
  /** Connections without a login, of all addresses. */
  readonly startups: number;
  /** Connections of one address, with and without a login. */
  readonly perAddress: number;
}

/** After our end of a connection has been closed, how long the other side has for its own. */
const LINGER_MS = 2000;

/**
 * Who may hold a connection before they have logged in. When all places are taken, the oldest connection of
 * the address that holds most gives way, so that one address cannot shut others out.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  /** Connections without a login, the oldest first. */
  readonly #startups = new Map<Socket, { readonly address: string; readonly grace: NodeJS.Timeout }>();
  readonly #perAddress = new Map<string, number>();

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Takes the connection in, or returns false: the caller destroys it. */
  admit(socket: Socket): boolean {
    const address = plainAddress(socket.remoteAddress);
    if (address === '') return false;
    const held = this.#perAddress.get(address) ?? 0;
    if (held >= this.#limits.perAddress) return false;
    if (this.#startups.size >= this.#limits.startups && !this.#makeRoom(address)) return false;
    this.#perAddress.set(address, held + 1);
    const grace = setTimeout(() => socket.destroy(), this.#limits.graceMs);
    this.#startups.set(socket, { address, grace });
    socket.once('finish', () => setTimeout(() => socket.destroy(), LINGER_MS).unref());
    socket.once('close', () => {
      this.loggedIn(socket);
      const left = (this.#perAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#perAddress.delete(address);
      else this.#perAddress.set(address, left);
    });
    return true;
  }

  /** The connection has logged in and no longer counts as one that has not. */
  loggedIn(socket: Socket): void {
    clearTimeout(this.#startups.get(socket)?.grace);
    this.#startups.delete(socket);
  }

  #makeRoom(newcomer: string): boolean {
    const counts = new Map<string, number>();
    for (const { address } of this.#startups.values()) counts.set(address, (counts.get(address) ?? 0) + 1);
    const most = Math.max(...counts.values());
    if ((counts.get(newcomer) ?? 0) >= most) return false;
    for (const [socket, { address }] of this.#startups) {
      if (counts.get(address) !== most) continue;
      this.loggedIn(socket);
      socket.destroy();
      return true;
    }
    return false;
  }
}

/** The address as people write it: IPv4 in an IPv6 socket is IPv4. */
export function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}
