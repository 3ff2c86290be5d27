import ssh2, { type AuthContext, type Connection, type ParsedKey, type PublicKeyAuthContext } from 'ssh2';
import type { Directory, Identity, OfferedKey } from '../auth/directory.ts';
import type { LoginQueue } from '../auth/login-queue.ts';
import type { LoginThrottle } from '../auth/login-throttle.ts';
import { checkBlob, explain, fingerprint, isHardwareKey, keyKind } from '../auth/public-key.ts';
import { DeployError } from '../core/errors.ts';
import { logFailure } from '../core/log/alarms.ts';
import type { Audit } from '../core/log/audit.ts';
import type { Log } from '../core/log/log.ts';
import { withoutToken } from '../core/masking/without-token.ts';
import { sentence } from '../core/text/sentence.ts';
import type { Principal } from '../core/types.ts';
import type { Place } from './admission.ts';
import { sendBanner } from './protocol/messages.ts';
import { answerTo, asWarning } from './session/ssh-answers.ts';

/** How many times a login may fail before the connection ends: the default of OpenSSH's MaxAuthTries. */
const MAX_FAILURES = 6;
/**
 * The most login requests of one connection. Requests that are not failures count here too: `none`, and known keys that
 * are only offered.
 */
const MAX_REQUESTS = 24;

export interface LoginOptions {
  readonly directory: Directory;
  readonly throttle: LoginThrottle;
  /** All SSH connections share this queue. A login waits in it until the directory may be asked about its key. */
  readonly turns: LoginQueue;
  readonly audit: Audit;
  readonly log: Log;
  readonly address: string;
  /** Asks for a place for this person's new connection. */
  readonly takePlace: (uid: string) => Place;
  /** Fires when the connection has ended. */
  readonly gone: AbortSignal;
}

/**
 * The login of one connection, by public key only. `principal` is null until the client has signed this connection and
 * its user name with a key that the directory accepts for that name. An offered key alone proves nothing.
 */
export class Login {
  readonly #client: Connection;
  readonly #options: LoginOptions;
  #principal: Principal | null = null;
  #name = '';
  #failures = 0;
  #requests = 0;
  #isWarnedOfHardware = false;

  constructor(client: Connection, options: LoginOptions) {
    this.#client = client;
    this.#options = options;
    client.on('authentication', (context) => {
      this.#decide(context).catch((error: unknown) => this.#refuseAll(error));
    });
    client.once('close', () => this.#onClose());
  }

  get principal(): Principal | null {
    return this.#principal;
  }

  async #decide(context: AuthContext): Promise<void> {
    this.#name = context.username;
    this.#requests += 1;
    if (this.#requests > MAX_REQUESTS) this.#client.end();
    else if (context.method === 'none') context.reject(['publickey']);
    else if (context.method !== 'publickey') this.#fail(context);
    else await this.#decideKey(context);
  }

  async #decideKey(context: PublicKeyAuthContext): Promise<void> {
    const key = this.#read(context);
    if (key === null) return this.#fail(context);
    const offered = { algorithm: context.key.algo, blob: context.key.data };
    const identity = await this.#identify(context.username, offered);
    if (this.#options.gone.aborted) return;
    if (identity === null) return this.#fail(context);
    const { signature, blob, hashAlgo } = context;
    if (signature === undefined || blob === undefined) {
      // Here, accept() does not log the client in. It sends SSH_MSG_USERAUTH_PK_OK, which asks for a signature.
      context.accept();
      return;
    }
    // Compare with true, because verify() may return an Error, which is truthy.
    if (key.verify(blob, signature, hashAlgo) !== true) return this.#fail(context);
    const place = this.#options.takePlace(identity.uid);
    if (place !== 'taken') return this.#refuseOneMore(identity.uid, place);
    this.#principal = {
      uid: identity.uid,
      door: 'ssh',
      credential: `ssh ${keyKind(offered.algorithm)} ${fingerprint(offered.blob)}`,
      address: this.#options.address,
      onlyTool: identity.onlyTool,
      scope: 'manage',
      isOperator: false,
      key: { login: context.username, ...offered },
    };
    this.#options.throttle.succeeded(context.username, this.#options.address, fingerprint(offered.blob));
    context.accept();
  }

  /**
   * Asks the user directory who owns the offered key. A login that still waits for its turn leaves the queue if the
   * client disconnects. Once the directory is asked, the login keeps its place among the running checks until the
   * directory answers, even if the client has disconnected.
   */
  async #identify(username: string, key: OfferedKey): Promise<Identity | null> {
    const { address, directory, gone, throttle, turns } = this.#options;
    // Many people log in with the name `git`, so the queue counts keys instead of names.
    const login = fingerprint(key.blob);
    const attempt = {
      login,
      address,
      isKnown: throttle.isKnown(username, address, login),
      // After too many failures, a key is still checked, because it may be the right one: people share addresses, and
      // the name `git`.
      isSlowed: throttle.check(username, address) > 0,
    };
    const ask = () => directory.identifyByKey(username, key, new AbortController().signal);
    return await turns.run(attempt, ask, gone);
  }

  /**
   * Parses the offered key. Returns null if the key is malformed, or if its type or signature algorithm is not allowed.
   */
  #read({ key, hashAlgo }: PublicKeyAuthContext): ParsedKey | null {
    if (isHardwareKey(key.algo) && !this.#isWarnedOfHardware) {
      this.#isWarnedOfHardware = true;
      const { message, hint } = explain('hardware key');
      sendBanner(this.#client, asWarning({ message: sentence(message), hint, id: null }));
      this.#options.log.info({ login: shown(this.#name), algorithm: key.algo }, 'hardware key offered');
    }
    // Find out whether the signature uses SHA-1: an RSA signature without a hash algorithm uses `ssh-rsa`, which is
    // SHA-1 (RFC 8332).
    const isSha1 = key.algo === 'ssh-rsa' && hashAlgo === undefined;
    if (isSha1 || checkBlob(key.algo, key.data) !== null) return null;
    const parsed = ssh2.utils.parseKey(`${key.algo} ${key.data.toString('base64')}`);
    const isWhole =
      !(parsed instanceof Error) && parsed.type === key.algo && parsed.getPublicSSH().equals(key.data);
    return isWhole ? parsed : null;
  }

  #fail(context: AuthContext): void {
    this.#failures += 1;
    const { throttle, address } = this.#options;
    const waitMs = throttle.check(context.username, address);
    // The throttle ends a login only after a wrong key, so it never stops a client that offers the right key first.
    if (waitMs > 0) {
      this.#end(
        'Too many logins from your address have failed.',
        `Wait ${Math.ceil(waitMs / 1000)} s, and try with the right key: ssh -o IdentitiesOnly=yes -i KEYFILE.`,
      );
    } else if (this.#failures >= MAX_FAILURES) {
      this.#end(
        `None of the first ${MAX_FAILURES} keys that your client offered belongs to ${shown(context.username)} here.`,
        'Offer only the right key: ssh -o IdentitiesOnly=yes -i KEYFILE, or for git: git config core.sshCommand "ssh -o IdentitiesOnly=yes -i KEYFILE".',
      );
    } else {
      context.reject(['publickey']);
    }
  }

  #refuseOneMore(uid: string, place: Exclude<Place, 'taken'>): void {
    const { log, address } = this.#options;
    if (place === 'server-full') {
      log.warn({ uid, address }, 'ssh login refused: all connections are taken');
      this.#end('This server has as many connections as it may have at once.', 'Try again in a minute.');
      return;
    }
    log.info({ uid, address }, 'ssh login refused: the person has too many connections');
    this.#end(
      `${uid} has as many connections to this server as one person may have.`,
      'Close one of your connections, for example one that follows a log, and try again.',
    );
  }

  /** Ends the login after an error, such as a directory that does not answer. Does not say that the key is wrong. */
  #refuseAll(error: unknown): void {
    if (this.#options.gone.aborted) return;
    const answer = answerTo(error);
    const { log, address } = this.#options;
    const facts = { id: answer.id, login: shown(this.#name), address };
    const code = error instanceof DeployError ? error.code : null;
    if (code === 'DIRECTORY_BUSY') log.warn(facts, 'ssh login refused: too many people are logging in');
    // Log nothing here: the user directory logs each entry that is too large, at most once a minute. Count a failure,
    // so that the throttle slows such logins down.
    else if (code === 'ENTRY_TOO_LARGE') this.#failures += 1;
    else
      logFailure(log, {
        error,
        message: code === null ? 'ssh login failed: fault of the server' : 'ssh login could not be checked',
        facts,
      });
    this.#end(answer.message, answer.hint);
  }

  #end(message: string, hint: string): void {
    sendBanner(this.#client, asWarning({ message, hint, id: null }));
    this.#client.end();
  }

  #onClose(): void {
    const { throttle, address, audit, log } = this.#options;
    if (this.#principal !== null || this.#failures === 0) return;
    // Log nothing for a client that the throttle slows down: the client is in the log already, and with a line for each
    // failure, strangers could fill the disk.
    const isSlowedDown = throttle.check(this.#name, address) > 0;
    throttle.failed(this.#name, address);
    if (isSlowedDown) return;
    const who = { uid: shown(this.#name), door: 'ssh', credential: null, address } as const;
    audit({ what: 'login refused', who, tool: null, facts: { failures: this.#failures } });
    log.info({ login: shown(this.#name), address, failures: this.#failures }, 'ssh login failed');
  }
}

function shown(name: string): string {
  return withoutToken(name)
    .replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?')
    .slice(0, 64);
}
