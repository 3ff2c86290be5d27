import type { connect, Socket } from 'node:net';
import { Client, type Entry, type Filter, ResultCodeError, type SearchOptions } from 'ldapts';
import { untilAborted } from '../../../core/concurrency/until-aborted.ts';
import { LdapEntry } from '../ldap-entry.ts';
import { valuesRead } from '../values-read.ts';
import { type AnswerTotal, LdapAnswers } from './ldap-answers.ts';
import { readByMessages } from './ldap-messages.ts';

/** A search among the entries directly below the entry `base`. */
export interface LdapQuestion {
  readonly base: string;
  readonly filter: Filter;
  /** The attributes to return. LDAP returns some, such as `pwdAccountLockedTime`, only if they are named. */
  readonly attributes: readonly string[];
  /** True if more entries may match than a server returns in one answer. */
  readonly isListing?: boolean;
}

/** How many entries are requested at a time (RFC 2696). Many servers return at most 500. */
const PAGE = 500;

/**
 * Result codes with which a working server refuses a login: invalidCredentials, inappropriateAuthentication (the entry
 * has no password), noSuchObject, unwillingToPerform (the account may not log in) and constraintViolation (the password
 * breaks a rule).
 *
 * @see https://www.rfc-editor.org/rfc/rfc4511#appendix-A.2
 */
const REFUSALS = new Set([49, 48, 32, 53, 19]);

/**
 * One connection to an LDAP server. After it has ended, it is never opened again: the caller makes a new object. ldapts
 * itself would silently connect again, without a login and without TLS.
 */
export class LdapConnection {
  readonly #client: Client;
  readonly #socket: Socket;
  readonly #limitMs: number;
  readonly #answers: LdapAnswers;
  #isOpen = true;
  #isRetired = false;
  #searches = 0;
  #usedAt = performance.now();

  /**
   * @param limitMs - The time limit that each search sends to the server.
   * @param total - The size of the unfinished answers of all connections.
   */
  constructor(socket: Socket, limitMs: number, total: AnswerTotal) {
    this.#socket = socket;
    this.#answers = new LdapAnswers(total);
    readByMessages(socket, this.#answers);
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
    return this.#isOpen && !this.#socket.destroyed;
  }

  /** Whether the caller may start another search. */
  get takesSearches(): boolean {
    return this.isOpen && !this.#isRetired;
  }

  /** Milliseconds since the last search, or since the connection was opened. */
  get idleMs(): number {
    return performance.now() - this.#usedAt;
  }

  /**
   * Returns all entries that match. References to other servers are not followed. With `isListing`, the entries come in
   * pages. Until the last page has come, the caller may start no other search on this connection, because OpenLDAP's
   * server keeps the position of only one paged search.
   *
   * If the signal fires, the answer may never end. So the connection then ends as soon as the other searches on it have
   * ended. It ends at once if the signal was a time limit and the server has sent nothing during this search.
   *
   * @throws the signal's reason; AnswerTooLarge if the answer is too large; ResultCodeError if the LDAP server refuses
   * the search; otherwise the error that ended the connection.
   */
  async search(question: LdapQuestion, signal: AbortSignal): Promise<LdapEntry[]> {
    this.#usedAt = performance.now();
    this.#searches += 1;
    const { bytesRead } = this.#socket;
    try {
      const answer = this.#answers.receive(() => this.#pages(question, signal), question);
      const entries = await untilAborted(answer, signal);
      valuesRead(entries.reduce((sum, { size }) => sum + size, 0));
      this.#usedAt = performance.now();
      return entries;
    } catch (error) {
      if (signal.aborted) this.#isRetired = true;
      // If the LDAP server has sent nothing at all within a time limit, the other searches would not end either.
      if (isTimeOver(signal) && this.#socket.bytesRead === bytesRead) this.close();
      throw error;
    } finally {
      this.#searches -= 1;
      this.#closeIfRetired();
    }
  }

  /** Ends the connection as soon as its searches have ended. The caller must start no other search. */
  retire(): void {
    this.#isRetired = true;
    this.#closeIfRetired();
  }

  /**
   * Whether the server accepts this password of the entry `dn`. If it does, the connection has the rights of the entry.
   *
   * @throws RangeError for an empty name or password, which a server accepts from anybody (RFC 4513 section 5.1.2).
   */
  async bind(dn: string, password: string, signal: AbortSignal): Promise<boolean> {
    if (dn === '' || password === '') throw new RangeError('a bind without a name or a password');
    try {
      await untilAborted(
        this.#answers.receive(() => this.#client.bind(dn, password)),
        signal,
      );
      return true;
    } catch (error) {
      if (error instanceof ResultCodeError && REFUSALS.has(error.code)) return false;
      throw error;
    }
  }

  close(): void {
    this.#isOpen = false;
    // Send no unbind request (RFC 4511), because a server treats the end of the stream in the same way.
    this.#socket.destroy();
  }

  #closeIfRetired(): void {
    if (this.#isRetired && this.#searches === 0) this.close();
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

function isTimeOver({ reason }: AbortSignal): boolean {
  return reason instanceof DOMException && reason.name === 'TimeoutError';
}
