import type { Socket } from 'node:net';
import { Shares } from '../core/fair-share/shares.ts';
import { networkOf } from '../core/network/ip-address.ts';

export interface AdmissionLimits {
  /** The longest time from connection to login. */
  readonly graceMs: number;
  /** The most connections of all addresses at one step of the login. */
  readonly startups: number;
  /** The most connections of one address at one step of the login. */
  readonly perAddress: number;
  /** The most logged-in connections of one person. */
  readonly perPerson: number;
  /** The most logged-in connections of all people. */
  readonly loggedIn: number;
}

/** The steps to a login: nothing received; the client has sent its identification; keys are exchanged. */
const STEPS = ['silent', 'introduced', 'exchanged'] as const;
export type Step = (typeof STEPS)[number];

/** A person may hold a tenth of the free places, so the last places are for people with few connections. */
const WEIGHT_OF_PERSON = 0.1;

/** Whether a login got a place, and otherwise whether the person or the server has too many connections. */
export type Place = 'taken' | 'person-full' | 'server-full';

/** After we have closed our end, how long the client has to close its own. */
const LINGER_MS = 2000;

/**
 * Limits connections before and after the login.
 *
 * Before the login, each step has places of its own, and a connection that reaches a step always gets one. If its
 * address has no free place, the oldest connection of that address at the step is ended. If all places are taken, it is
 * the oldest of the address that holds most of them. So silent connections can only replace other silent ones.
 * After the login, only the person counts, whatever the address.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #pushOut: (socket: Socket, step: Step) => void;
  readonly #steps: ReadonlyMap<Step, Places>;
  readonly #graces = new Map<Socket, NodeJS.Timeout>();
  readonly #persons = new Map<Socket, string>();
  readonly #loggedIn: Shares;
  #leaving = 0;

  /** @param pushOut - Tells the client why its connection ends. */
  constructor(limits: AdmissionLimits, pushOut: (socket: Socket, step: Step) => void) {
    this.#limits = limits;
    this.#pushOut = pushOut;
    this.#loggedIn = new Shares(limits.loggedIn);
    this.#steps = new Map(STEPS.map((step) => [step, new Places(limits)]));
  }

  /** Registers a new connection. */
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

  /** Records that the connection has reached this step of the login. */
  reach(socket: Socket, step: Step): void {
    // Ignores key exchanges after the login, and connections that are being ended.
    if (!this.#graces.has(socket)) return;
    for (const places of this.#steps.values()) places.leave(socket);
    const out = this.#steps.get(step)?.take(socket) ?? null;
    if (out !== null) this.#end(out, step);
  }

  /** Gives a connection that has logged in a place, if there is one. */
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
    // A client that does not read never lets the socket finish.
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
    socket.end();
  }

  #leaveSteps(socket: Socket): void {
    clearTimeout(this.#graces.get(socket));
    this.#graces.delete(socket);
    for (const places of this.#steps.values()) places.leave(socket);
  }
}

/** The places of one step of the login. */
class Places {
  readonly #limits: Pick<AdmissionLimits, 'startups' | 'perAddress'>;
  /** Each connection with its address, the oldest first. */
  readonly #held = new Map<Socket, string>();

  constructor(limits: Pick<AdmissionLimits, 'startups' | 'perAddress'>) {
    this.#limits = limits;
  }

  /** Gives the connection a place. @returns the connection that must end for it, or null. */
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
