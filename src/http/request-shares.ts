import { Shares } from '../core/fair-share/shares.ts';
import type { Log } from '../core/log/log.ts';
import { networkOf } from '../core/network/ip-address.ts';

const LOG_PAUSE_MS = 60_000;

/** Either the request is admitted until `leave` is called, or it is refused with a sentence. */
export type Admitted =
  | { readonly kind: 'admitted'; readonly leave: () => void }
  | { readonly kind: 'refused'; readonly sentence: string };

export interface RequestSharesOptions {
  /** The maximum number of requests in progress to tools. */
  readonly toolRequests: number;
  /** The maximum number of requests in progress to the server itself: git, commands and health checks. */
  readonly ownRequests: number;
  readonly log: Log;
}

/**
 * Limits the requests in progress over all connections. Requests to tools have places of their own, so they never take
 * the places of git, commands and health checks. Each tool and each client address has a share of the places.
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
