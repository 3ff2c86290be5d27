import { DeployError } from '../errors.ts';
import type { ToolName } from '../names.ts';
import type { Principal } from '../types.ts';

const MAX_OF_CREDENTIAL = 10;
const MAX_OF_PERSON = 20;
const MAX_OF_TOOL = 50;
const MAX_OF_ALL = 500;
/** If a client that follows a log takes no output for this long, the server stops sending output to the client. */
const STALL_MS = 2 * 60_000;

/** The place of one reader who follows a log. `[Symbol.dispose]` gives the place back. */
export interface FollowerPlace extends Disposable {
  /**
   * Waits until the client that follows a log has received a piece of the log.
   *
   * @param taken - Resolves when the client has received the piece.
   * @throws DeployError `FOLLOWER_STALLED` if the client has not received the piece after `STALL_MS`.
   */
  write(taken: Promise<void>): Promise<void>;
}

/**
 * Limits how many readers follow logs at the same time, over SSH, HTTP and the local socket together. A reader costs
 * memory as long as its connection lasts. So each credential, each person, each tool and the server has a limit.
 */
export class Followers {
  readonly #held = new Set<readonly string[]>();
  readonly #stallMs: number;

  constructor(stallMs: number = STALL_MS) {
    this.#stallMs = stallMs;
  }

  /** How many clients follow logs now. */
  get size(): number {
    return this.#held.size;
  }

  /**
   * Counts one more reader of the tool's logs, until the returned place is disposed of. The operator always gets a
   * place. @throws DeployError `TOO_MANY_FOLLOWERS` if a limit on readers is reached.
   */
  enter(principal: Principal, tool: ToolName): FollowerPlace {
    const shares = sharesOf(principal, tool);
    const full = shares.find((share) => this.#isFull(share));
    if (full !== undefined && !principal.isOperator) {
      const message = `${full.who} ${full.limit} logs${full.where} already`;
      throw new DeployError('TOO_MANY_FOLLOWERS', message, 'End a command that follows logs, and try again.');
    }
    const place = shares.map(({ key }) => key);
    this.#held.add(place);
    return {
      write: (taken) => this.#untilStalled(taken),
      [Symbol.dispose]: () => void this.#held.delete(place),
    };
  }

  /**
   * Counts one more reader of the tool's logs, until the returned place is disposed of. Returns null if a limit on
   * readers is reached. The operator always gets a place.
   */
  enterIfFree(principal: Principal, tool: ToolName): FollowerPlace | null {
    const isFree = principal.isOperator || !sharesOf(principal, tool).some((share) => this.#isFull(share));
    return isFree ? this.enter(principal, tool) : null;
  }

  #isFull({ key, limit }: Share): boolean {
    let count = 0;
    for (const keys of this.#held) if (keys.includes(key)) count += 1;
    return count >= limit;
  }

  async #untilStalled(taken: Promise<void>): Promise<void> {
    const { promise: stalled, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(tooSlow(this.#stallMs)), this.#stallMs).unref();
    try {
      await Promise.race([taken, stalled]);
    } finally {
      clearTimeout(timer);
    }
  }
}

interface Share {
  readonly key: string;
  readonly limit: number;
  readonly who: string;
  readonly where: string;
}

function sharesOf({ uid, credential }: Principal, tool: ToolName): readonly Share[] {
  return [
    {
      ...{ key: `credential ${uid} ${credential}`, limit: MAX_OF_CREDENTIAL },
      ...{ who: `the ${credential} follows`, where: '' },
    },
    { key: `person ${uid}`, limit: MAX_OF_PERSON, who: `the user ${uid} follows`, where: '' },
    { key: `tool ${tool}`, limit: MAX_OF_TOOL, who: 'people and tokens follow', where: ` of ${tool}` },
    { key: 'all', limit: MAX_OF_ALL, who: 'people and tokens follow', where: ' on this server' },
  ];
}

function tooSlow(stallMs: number): DeployError {
  return new DeployError(
    'FOLLOWER_STALLED',
    `this connection took no output for ${Math.ceil(stallMs / 1000)} s, so the server stopped sending output`,
    'Follow the log again. If you read slowly, send the output to a file.',
  );
}
