import { type Sharer, tokenKey } from '../core/fair-share/person-limit.ts';
import { Shares } from '../core/fair-share/shares.ts';
import type { Log } from '../core/log/log.ts';
import { networkOf } from '../core/network/ip-address.ts';

const LOG_PAUSE_MS = 60_000;

/**
 * The weight of a person in `Shares`, the same as over SSH. While only one person sends requests, this person gets at
 * most an eleventh of the places for git and commands.
 */
const WEIGHT_OF_PERSON = 0.1;
/** With this weight, a deploy token gets at most about half of the places that its maker can get. */
const WEIGHT_OF_TOKEN = 0.05;

/**
 * An admitted request keeps its place until `leave` is called. A refused request is answered with `sentence`, and with
 * `status`, by default 503.
 */
export type Admitted =
  | { readonly kind: 'admitted'; readonly leave: () => void }
  | { readonly kind: 'refused'; readonly status?: 429; readonly sentence: string };

export interface RequestSharesOptions {
  /** The maximum number of requests in progress to tools. */
  readonly toolRequests: number;
  /** The maximum number of requests in progress to the server itself, such as git and commands. */
  readonly ownRequests: number;
  readonly log: Log;
}

/**
 * Limits the requests in progress over all connections. Requests to tools have places of their own, so they never take
 * the places of git and commands. Each tool, each network of clients and each person has a share of the places. Health
 * checks and pages of the server need no place.
 */
export class RequestShares {
  readonly #tools: Shares;
  readonly #own: Shares;
  readonly #options: RequestSharesOptions;
  #loggedAt = -LOG_PAUSE_MS;

  constructor(options: RequestSharesOptions) {
    this.#options = options;
    this.#tools = new Shares(options.toolRequests);
    this.#own = new Shares(options.ownRequests);
  }

  /**
   * Takes a place for a request that needs no login.
   *
   * @param tool - Null if the request is for the server itself.
   * @param address - The client's address, or the proxy's address if the proxy does not name the client.
   */
  enter(tool: string | null, address: string): Admitted {
    const client = { [networkOf(address)]: 1 };
    // The share of a tool is smaller than that of an address, so an address that fills one tool can still reach others.
    const taken =
      tool === null ? this.#own.take(client) : this.#tools.take({ [`tool ${tool}`]: 0.5, ...client });
    if (taken.kind === 'taken') return { kind: 'admitted', leave: taken.giveBack };
    this.#tell(tool, taken.holder);
    return { kind: 'refused', sentence: sentenceAbout(tool, taken.holder) };
  }

  /**
   * Takes one of the places for git and commands for a person, who may come from many addresses. Call this only after
   * the login, so that the logins of strangers, who can begin thousands, take no places.
   */
  enterAs(sharer: Sharer, address: string): Admitted {
    const person = `person ${sharer.uid}`;
    const token = tokenKey(sharer);
    const taken = this.#own.take({
      ...{ [networkOf(address)]: 1, [person]: WEIGHT_OF_PERSON },
      ...(token === null ? {} : { [token]: WEIGHT_OF_TOKEN }),
    });
    if (taken.kind === 'taken') return { kind: 'admitted', leave: taken.giveBack };
    this.#tell(null, taken.holder);
    const who =
      taken.holder === person
        ? `You (${sharer.uid}) have`
        : taken.holder !== null && taken.holder === token
          ? `The ${sharer.credential} has`
          : null;
    if (who === null) return { kind: 'refused', sentence: sentenceAbout(null, taken.holder) };
    return { kind: 'refused', status: 429, sentence: `${who} too many requests under way.` };
  }

  #tell(tool: string | null, holder: string | null): void {
    if (performance.now() - this.#loggedAt < LOG_PAUSE_MS) return;
    this.#loggedAt = performance.now();
    this.#options.log.warn({ tool, holder }, 'http requests refused: too many under way');
  }
}

function sentenceAbout(tool: string | null, holder: string | null): string {
  if (holder === null) return 'This server has too many requests under way.';
  if (holder === `tool ${tool}`) return `The tool ${tool} has too many requests under way.`;
  return `Your address ${holder} has too many requests under way.`;
}
