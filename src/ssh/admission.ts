import type { Socket } from 'node:net';
import { networkOf } from '../core/network.ts';
import { Shares } from '../core/shares.ts';

export interface AdmissionLimits {
  /** From connection to login. */
  readonly graceMs: number;
  /** Connections of all addresses at one step of the login. */
  readonly startups: number;
  /** Connections of one address at one step of the login. */
  readonly perAddress: number;
  /** Connections of one person that have logged in. */
  readonly perPerson: number;
  /** Connections of everybody that have logged in. */
  readonly loggedIn: number;
}

/** The steps to a login: nothing was received; the client has named its software; keys are exchanged. */
const STEPS = ['silent', 'introduced', 'exchanged'] as const;
export type Step = (typeof STEPS)[number];

/** By how many are free, so that the last places are for people who hold few. */
const WEIGHT_OF_PERSON = 0.1;

/** Whether a login got a place, or who holds too many: the person, or everybody together. */
export type Place = 'taken' | 'person-full' | 'server-full';

/** After our end of a connection has been closed, how long the other side has for its own. */
const LINGER_MS = 2000;

/**
 * Who may hold a connection, before and after the login.
 *
 * Before the login, each step has places of its own, and whoever reaches a step gets one. If the places of their
 * address are taken, the oldest connection of that address at that step gives way; if all places are taken, the oldest
 * of the address that holds most of them. So connections that stay silent can push out only other silent ones.
 * After the login, connections count for the person alone, whatever the address.
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

  /** Takes a new connection in. */
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

  /** The connection has come to this step of the login. */
  reach(socket: Socket, step: Step): void {
    // A key exchange may also happen after the login, and a connection that was pushed out has no step.
    if (!this.#graces.has(socket)) return;
    for (const places of this.#steps.values()) places.leave(socket);
    const out = this.#steps.get(step)?.take(socket) ?? null;
    if (out !== null) this.#end(out, step);
  }

  /** The connection has logged in, if there is a place for it. */
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

  /** @returns the connection that gives way for this one, if one must. */
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
