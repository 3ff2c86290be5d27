import type { Socket } from 'node:net';
import { Shares } from '../core/fair-share/shares.ts';
import { networkOf } from '../core/network/ip-address.ts';

export interface AdmissionLimits {
  /** The longest time from connection to login. */
  readonly graceMs: number;
  /** The most connections that all addresses together may have at each step before the login (see `STEPS`). */
  readonly startups: number;
  /** The most connections of one IPv4 address, or one /64 network of IPv6, at each step before the login. */
  readonly perAddress: number;
  /** The most connections that one person may have after the login. */
  readonly perPerson: number;
  /** The most connections that all people together may have after the login. */
  readonly loggedIn: number;
}

/**
 * The steps of a connection before its login: the server has received nothing; the client has sent its identification;
 * keys are exchanged.
 */
const STEPS = ['silent', 'introduced', 'exchanged'] as const;
export type Step = (typeof STEPS)[number];

/**
 * A person gets another place only while they hold fewer places than a tenth of the free ones. So the last places
 * remain for people with few connections.
 */
const WEIGHT_OF_PERSON = 0.1;

/**
 * The result of asking for a place after a login: taken, or refused because the person or the server has too many
 * connections.
 */
export type Place = 'taken' | 'person-full' | 'server-full';

/** How long the client has to close its end of a connection after the server has closed its own. */
const LINGER_MS = 2000;

/**
 * Limits the number of connections before and after the login.
 *
 * Before the login, a connection is at one of the steps of `STEPS`, and each step has its own places. A connection that
 * reaches a step always gets a place there. If its address then has too many connections at this step, the oldest of
 * them ends. If all places of the step were taken, the oldest connection of the address with the most connections ends.
 * So a connection that has sent nothing can only replace another one that has sent nothing. All IPv6 addresses of a /64
 * network count as one address.
 *
 * After the login, the connections of one person and of all people are limited, from whatever address. A connection
 * above a limit is refused, and no other connection ends.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #pushOut: (socket: Socket, step: Step) => void;
  readonly #steps: ReadonlyMap<Step, Places>;
  readonly #graces = new Map<Socket, NodeJS.Timeout>();
  readonly #persons = new Map<Socket, string>();
  readonly #loggedIn: Shares;
  #leaving = 0;

  /**
   * @param pushOut - Tells a client why the server ends its connection before the login.
   */
  constructor(limits: AdmissionLimits, pushOut: (socket: Socket, step: Step) => void) {
    this.#limits = limits;
    this.#pushOut = pushOut;
    this.#loggedIn = new Shares(limits.loggedIn);
    this.#steps = new Map(STEPS.map((step) => [step, new Places(limits)]));
  }

  /**
   * Gives a new connection a place at the step `silent`: its client has sent nothing yet. If too many connections are
   * at this step, an older one ends (see the class `Places`). The new connection ends if it has not logged in within
   * `graceMs`.
   */
  admit(socket: Socket): void {
    if (socket.remoteAddress === undefined) return void socket.destroy();
    this.#graces.set(
      socket,
      setTimeout(() => socket.destroy(), this.#limits.graceMs),
    );
    socket.once('finish', () => setTimeout(() => socket.destroy(), LINGER_MS).unref());
    socket.once('close', () => {
      this.#leaveSteps(socket);
      this.#persons.delete(socket);
    });
    this.reach(socket, 'silent');
  }

  /**
   * Gives a connection a place at the step of the login that it has reached. If too many connections are at this step,
   * an older one ends (see the class `Places`).
   */
  reach(socket: Socket, step: Step): void {
    // Ignore a connection without a grace timer: it has logged in or is being ended, so its key exchanges are not steps
    // of a login.
    if (!this.#graces.has(socket)) return;
    for (const places of this.#steps.values()) places.leave(socket);
    const out = this.#steps.get(step)?.take(socket) ?? null;
    if (out !== null) this.#end(out, step);
  }

  /** Gives a place to a connection that has logged in, if one is free. */
  logIn(socket: Socket, uid: string): Place {
    const held = [...this.#persons.values()].filter((other) => other === uid).length;
    if (held >= this.#limits.perPerson) return 'person-full';
    const taken = this.#loggedIn.take({ [uid]: WEIGHT_OF_PERSON });
    if (taken.kind === 'refused') return taken.holder === null ? 'server-full' : 'person-full';
    this.#leaveSteps(socket);
    if (socket.destroyed) taken.giveBack();
    else this.#persons.set(socket, uid);
    socket.once('close', taken.giveBack);
    return 'taken';
  }

  #end(socket: Socket, step: Step): void {
    this.#leaveSteps(socket);
    if (this.#leaving >= this.#limits.startups) return void socket.destroy();
    this.#leaving += 1;
    socket.once('close', () => {
      this.#leaving -= 1;
    });
    this.#pushOut(socket, step);
    // If the client does not read, the socket never finishes, so a timer destroys the socket.
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
    socket.end();
  }

  #leaveSteps(socket: Socket): void {
    clearTimeout(this.#graces.get(socket));
    this.#graces.delete(socket);
    for (const places of this.#steps.values()) places.leave(socket);
  }
}

/** The connections that wait at one step of the login. */
class Places {
  readonly #limits: Pick<AdmissionLimits, 'startups' | 'perAddress'>;
  /** Each connection with the IPv4 address or IPv6 network of its client, the oldest connection first. */
  readonly #held = new Map<Socket, string>();

  constructor(limits: Pick<AdmissionLimits, 'startups' | 'perAddress'>) {
    this.#limits = limits;
  }

  /** Takes a place for a connection. @returns the connection that must end to make room. Null if there is room. */
  take(socket: Socket): Socket | null {
    const address = networkOf(socket.remoteAddress ?? '');
    const counts = new Map<string, number>([[address, 0]]);
    for (const other of this.#held.values()) counts.set(other, (counts.get(other) ?? 0) + 1);
    this.#held.set(socket, address);
    if ((counts.get(address) ?? 0) >= this.#limits.perAddress)
      return this.#oldest((other) => other === address);
    if (this.#held.size <= this.#limits.startups) return null;
    const most = Math.max(...counts.values());
    return this.#oldest((other) => counts.get(other) === most);
  }

  leave(socket: Socket): void {
    this.#held.delete(socket);
  }

  #oldest(isRight: (address: string) => boolean): Socket | null {
    for (const [socket, address] of this.#held) if (isRight(address)) return socket;
    return null;
  }
}
