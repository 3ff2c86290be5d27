import type { connect, Socket } from 'node:net';
import { Client, type Entry, type Filter, ResultCodeError, type SearchOptions } from 'ldapts';
import { untilAborted } from '../../core/concurrency/until-aborted.ts';
import { LdapEntry } from './ldap-entry.ts';

/** What to look for, among the entries directly under the base. */
export interface LdapQuestion {
  readonly base: string;
  readonly filter: Filter;
  /** Operational attributes come only when they are named. */
  readonly attributes: readonly string[];
  /** Set where more entries may fit than a server gives at a time. */
  readonly isListing?: boolean;
}

/** Entries that a server is asked for at a time; many servers give no more than 500 (RFC 2696). */
const PAGE = 500;

/**
 * Results of a bind that refuse the person, while the server is well: bad credentials, no password there, no such entry,
 * an account that the server does not let in (unwillingToPerform), a password against its rules (constraintViolation).
 *
 * @see https://www.rfc-editor.org/rfc/rfc4511#appendix-A.2
 */
const REFUSALS = new Set([49, 48, 32, 53, 19]);

/**
 * One connection. When it has ended it stays so: a new one is a new object, since ldapts would silently connect
 * again as nobody, and in clear.
 */
export class LdapConnection {
  readonly #client: Client;
  readonly #socket: Socket;
  readonly #limitMs: number;
  #isOpen = true;
  #usedAt = performance.now();

  /** @param limitMs - What a server is told that a search may take. */
  constructor(socket: Socket, limitMs: number) {
    this.#socket = socket;
    this.#limitMs = limitMs;
    socket.once('close', () => {
      this.#isOpen = false;
    });
    let isTaken = false;
    const takeSocket = () => {
      if (isTaken || !this.#isOpen) throw new Error('The connection to the LDAP server has ended.');
      isTaken = true;
      return socket;
    };
    this.#client = new Client({
      url: 'ldap://socket.invalid',
      createConnection: takeSocket as typeof connect,
    });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Milliseconds since it was last asked something. */
  get idleMs(): number {
    return performance.now() - this.#usedAt;
  }

  /**
   * All entries that fit. References to other servers are not followed. A listing comes in pages, of which slapd
   * keeps count for one search of a connection only: nothing else may be asked here meanwhile.
   *
   * @throws the signal's reason, ResultCodeError, or why the connection ended.
   */
  async search(question: LdapQuestion, signal: AbortSignal): Promise<LdapEntry[]> {
    this.#usedAt = performance.now();
    const entries = await untilAborted(this.#pages(question, signal), signal);
    this.#usedAt = performance.now();
    return entries;
  }

  /**
   * Whether the server takes the password. From then on the connection is that entry's.
   *
   * @throws RangeError for an empty password, which a server takes from anybody (RFC 4513 section 5.1.2).
   */
  async bind(dn: string, password: string, signal: AbortSignal): Promise<boolean> {
    if (dn === '' || password === '') throw new RangeError('a bind without a name or a password');
    try {
      await untilAborted(this.#client.bind(dn, password), signal);
      return true;
    } catch (error) {
      if (error instanceof ResultCodeError && REFUSALS.has(error.code)) return false;
      throw error;
    }
  }

  close(): void {
    this.#isOpen = false;
    // Without the farewell of RFC 4511 a server sees the end of the stream, which it treats alike.
    this.#socket.destroy();
  }

  async #pages(
    { base, filter, attributes, isListing = false }: LdapQuestion,
    signal: AbortSignal,
  ): Promise<LdapEntry[]> {
    const options: SearchOptions = {
      scope: 'one',
      derefAliases: 'never',
      filter,
      attributes: [...attributes],
      timeLimit: Math.ceil(this.#limitMs / 1000),
    };
    if (!isListing) return readAll((await this.#client.search(base, options)).searchEntries);
    const entries: LdapEntry[] = [];
    const pages = this.#client.searchPaginated(base, { ...options, paged: { pageSize: PAGE } });
    for await (const { searchEntries } of pages) {
      signal.throwIfAborted();
      entries.push(...readAll(searchEntries));
    }
    return entries;
  }
}

function readAll(entries: readonly Entry[]): LdapEntry[] {
  return entries.map((entry) => new LdapEntry(entry));
}
