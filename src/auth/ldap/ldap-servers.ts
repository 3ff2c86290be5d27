import { ResultCodeError, SizeLimitExceededError } from 'ldapts';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { untilAborted } from '../../core/concurrency/until-aborted.ts';
import { DeployError } from '../../core/errors.ts';
import { alarmAbout, calm } from '../../core/log/alarms.ts';
import type { Log } from '../../core/log/log.ts';
import { tooManyLogins, unavailable } from '../directory-timeout.ts';
import { RecentMap } from '../recent-map.ts';
import { AnswerTooLarge, AnswerTotal } from './connection/ldap-answers.ts';
import { LdapConnection, type LdapQuestion } from './connection/ldap-connection.ts';
import { openSocket } from './connection/ldap-socket.ts';
import { readDn } from './ldap-dn.ts';
import type { LdapEntry } from './ldap-entry.ts';
import { type LdapServer, type LdapSettings, readAccountPassword, readAuthorities } from './ldap-settings.ts';

const SEARCHES = { atOnce: 32, waiting: 256 } as const;
/** How many password checks run at the same time, and how many may wait. Each check uses a connection of its own. */
const BINDS = { atOnce: 8, waiting: 64 } as const;
/**
 * If a shared connection ends, its searches are sent again, each on a connection of its own. At most this many of them run
 * at the same time.
 */
const REPEATED_AT_ONCE = 8;
/** A connection that was idle for longer is not used again, because a firewall may have cut it without notice. */
const MAX_IDLE_MS = 60_000;
/** For how long the server remembers that an entry was too large. */
const TOO_LARGE_MS = 60_000;
const MAX_TOO_LARGE = 1000;

/**
 * The LDAP servers. Each question goes first to the server that answered last. If this server fails or takes too long
 * (`#attemptMs`), the question goes to the next server, within the time that the caller allows. All searches on a
 * server share one connection, except searches for long lists, and searches that failed because this connection ended.
 * Each password is checked on a connection of its own.
 */
export class LdapServers {
  readonly #settings: LdapSettings;
  readonly #log: Log;
  readonly #kept = new Map<LdapServer, LdapConnection>();
  readonly #opening = new Map<LdapServer, Promise<LdapConnection>>();
  readonly #searches = new ConcurrencyLimit(SEARCHES.atOnce, {
    most: SEARCHES.waiting,
    refusal: tooManyLogins,
  });
  readonly #repeated = new ConcurrencyLimit(REPEATED_AT_ONCE, {
    most: SEARCHES.atOnce,
    refusal: tooManyLogins,
  });
  readonly #binds = new ConcurrencyLimit(BINDS.atOnce, { most: BINDS.waiting, refusal: tooManyLogins });
  readonly #answers = new AnswerTotal();
  readonly #attemptMs: number;
  /**
   * For each entry that was too large (the `key` of its name): until when, by `performance.now()`, it counts as too
   * large.
   */
  readonly #tooLarge = new RecentMap<number>(MAX_TOO_LARGE);
  #preferred = 0;
  #isClosed = false;

  constructor(settings: LdapSettings, log: Log) {
    this.#settings = settings;
    this.#log = log;
    // Each server gets a little less than an equal part of the time, so that even the last one can answer in time.
    this.#attemptMs = Math.floor(settings.limitMs / (settings.servers.length + 0.25));
  }

  /**
   * Returns the entries that match.
   *
   * @throws DeployError `DIRECTORY_UNAVAILABLE` if no server gives an answer that can be used; `DIRECTORY_BUSY` if too
   * many searches wait; the signal's reason.
   */
  async search(question: LdapQuestion, signal: AbortSignal): Promise<LdapEntry[]> {
    const entries = await this.#searches.run(
      () => this.#ask(signal, (server, attempt) => this.#searchOn(server, question, attempt)),
      signal,
    );
    for (const { dn, isTooLarge } of entries) if (isTooLarge) this.#noteTooLarge(dn);
    return entries;
  }

  /**
   * Whether an entry was too large within the last minute. If so, callers must not ask LDAP for this entry, because
   * reading the answer keeps the server busy.
   *
   * @param key - The `key` of the distinguished name, as `readDn` returns it.
   */
  isTooLarge(key: string): boolean {
    return (this.#tooLarge.get(key) ?? 0) > performance.now();
  }

  /**
   * Whether this is the password of the entry `dn`.
   *
   * @throws DeployError `DIRECTORY_UNAVAILABLE` if no server gives an answer that can be used; `DIRECTORY_BUSY` if too
   * many checks wait; the signal's reason.
   */
  async isPassword(dn: string, password: string, signal: AbortSignal): Promise<boolean> {
    return await this.#binds.run(
      () =>
        this.#ask(signal, async (server, attempt) => {
          const connection = await this.#connect(server, attempt);
          try {
            return await connection.bind(dn, password, attempt);
          } finally {
            connection.close();
          }
        }),
      signal,
    );
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of this.#kept.values()) connection.close();
    this.#kept.clear();
  }

  async #ask<T>(
    signal: AbortSignal,
    work: (server: LdapServer, attempt: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { servers } = this.#settings;
    const first = this.#preferred;
    let lastError: unknown = null;
    for (let turn = 0; turn < servers.length; turn += 1) {
      const index = (first + turn) % servers.length;
      const server = servers[index] as LdapServer;
      const time = AbortSignal.timeout(this.#attemptMs);
      try {
        const answer = await work(server, AbortSignal.any([signal, time]));
        this.#preferred = index;
        calm(this.#log, ['DIRECTORY_UNAVAILABLE']);
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        // Too many questions wait on this side, so another LDAP server would not help.
        if (error instanceof DeployError && error.code === 'DIRECTORY_BUSY') throw error;
        lastError = error;
        this.#log.warn({ server: `${server.host}:${server.port}`, err: error }, 'LDAP server failed');
      }
    }
    if (lastError instanceof AnswerTooLarge)
      throw unavailable('the user directory (LDAP) sends an answer that is too large', lastError);
    const error = unavailable('the user directory (LDAP) does not answer just now', lastError);
    const asked = servers.map(({ host, port }) => `${host}:${port}`);
    alarmAbout(this.#log, error, { servers: asked, err: lastError });
    throw error;
  }

  async #searchOn(server: LdapServer, question: LdapQuestion, signal: AbortSignal): Promise<LdapEntry[]> {
    const listing = { ...question, isListing: true };
    if (question.isListing) return await this.#searchAlone(server, listing, signal);
    try {
      return await this.#searchShared(server, question, signal);
    } catch (error) {
      if (!(error instanceof SizeLimitExceededError)) throw error;
      return await this.#searchAlone(server, listing, signal);
    }
  }

  /** Searches on a connection of its own. */
  async #searchAlone(server: LdapServer, question: LdapQuestion, signal: AbortSignal): Promise<LdapEntry[]> {
    const connection = await this.#logIn(server, signal);
    try {
      return await connection.search(question, signal);
    } finally {
      connection.close();
    }
  }

  async #searchShared(server: LdapServer, question: LdapQuestion, signal: AbortSignal): Promise<LdapEntry[]> {
    const connection = await this.#shared(server, signal);
    try {
      return await connection.search(question, signal);
    } catch (error) {
      const isAnswered = error instanceof AnswerTooLarge || error instanceof ResultCodeError;
      if (signal.aborted || connection.isOpen || isAnswered) throw error;
    }
    // The connection has ended, for example because the LDAP server was restarted or sent a bad answer. The bad answer
    // may belong to another question. So ask this question again on a connection of its own.
    return await this.#repeated.run(() => this.#searchAlone(server, question, signal), signal);
  }

  /**
   * Returns the connection that many searches share, and opens it first if needed. All callers that wait for it get the
   * same connection.
   */
  async #shared(server: LdapServer, signal: AbortSignal): Promise<LdapConnection> {
    const kept = this.#kept.get(server);
    if (kept?.takesSearches && kept.idleMs < MAX_IDLE_MS) return kept;
    const opening = this.#opening.get(server) ?? this.#openShared(server);
    this.#opening.set(server, opening);
    return await untilAborted(opening, signal);
  }

  async #openShared(server: LdapServer): Promise<LdapConnection> {
    try {
      const connection = await this.#logIn(server, AbortSignal.timeout(this.#attemptMs));
      this.#kept.get(server)?.retire();
      if (this.#isClosed) connection.close();
      else this.#kept.set(server, connection);
      return connection;
    } finally {
      this.#opening.delete(server);
    }
  }

  async #logIn(server: LdapServer, signal: AbortSignal): Promise<LdapConnection> {
    const { account } = this.#settings;
    const password = account === null ? '' : await readAccountPassword(account.passwordFile);
    const connection = await this.#connect(server, signal);
    try {
      if (account === null || (await connection.bind(account.dn, password, signal))) return connection;
      throw new Error(`The LDAP server refuses the account of the setting ldap_bind_dn, or its password.`);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async #connect(server: LdapServer, signal: AbortSignal): Promise<LdapConnection> {
    const { caFile } = this.#settings;
    const ca = caFile === null ? null : await readAuthorities(caFile);
    const socket = await openSocket(server, ca, signal);
    return new LdapConnection(socket, this.#settings.limitMs, this.#answers);
  }

  #noteTooLarge(dn: string): void {
    const key = readDn(dn)?.key ?? dn;
    if (this.isTooLarge(key)) return;
    this.#tooLarge.set(key, performance.now() + TOO_LARGE_MS);
    this.#log.warn({ dn }, 'LDAP entry is too large or has too many keys: it counts as disabled');
  }
}
