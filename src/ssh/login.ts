import ssh2, { type AuthContext, type Connection, type ParsedKey, type PublicKeyAuthContext } from 'ssh2';
import { withoutToken } from '../auth/deploy-tokens.ts';
import type { Directory, OfferedKey } from '../auth/directory.ts';
import { checkBlob, explain, fingerprint, isHardwareKey, keyKind } from '../auth/public-key.ts';
import type { LoginThrottle } from '../auth/throttle.ts';
import { logFailure } from '../core/alarms.ts';
import type { Audit } from '../core/audit.ts';
import { DeployError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Principal } from '../core/types.ts';
import type { Place } from './admission.ts';
import { answerTo, asWarning } from './answers.ts';
import { sendBanner } from './banner.ts';

/** As OpenSSH's MaxAuthTries. */
const MOST_FAILURES = 6;
/** Requests that fail nothing (`none`, a known key that is only offered) are bounded too. */
const MOST_REQUESTS = 24;

export interface LoginOptions {
  readonly directory: Directory;
  readonly throttle: LoginThrottle;
  readonly audit: Audit;
  readonly log: Log;
  readonly address: string;
  /** Takes a place for a connection of this person. */
  readonly takePlace: (uid: string) => Place;
  /** Aborted when the connection has ended. */
  readonly gone: AbortSignal;
}

/**
 * The login of one connection, by public key alone. `principal` is null until a signature of this connection,
 * made for the name that it logs in with, was verified with a key that the directory knows for that name: an
 * offered key gives nothing but the leave to sign.
 */
export class Login {
  readonly #client: Connection;
  readonly #options: LoginOptions;
  #principal: Principal | null = null;
  #key: OfferedKey | null = null;
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

  /**
   * Asks once more whether the key belongs to the person: a connection may last much longer than the key.
   *
   * @throws DeployError `KEY_GONE`, `DIRECTORY_UNAVAILABLE`.
   */
  async confirm(signal: AbortSignal): Promise<void> {
    const identity =
      this.#key === null ? null : await this.#options.directory.identifyByKey(this.#name, this.#key, signal);
    if (identity !== null && identity.uid === this.#principal?.uid) return;
    throw new DeployError(
      'KEY_GONE',
      'The key that this connection has logged in with does not open this server any more.',
      'Log in again with a key that does.',
    );
  }

  async #decide(context: AuthContext): Promise<void> {
    this.#name = context.username;
    this.#requests += 1;
    if (this.#requests > MOST_REQUESTS) this.#client.end();
    else if (context.method === 'none') context.reject(['publickey']);
    else if (context.method !== 'publickey') this.#fail(context);
    else await this.#decideKey(context);
  }

  async #decideKey(context: PublicKeyAuthContext): Promise<void> {
    const key = this.#read(context);
    if (key === null) return this.#fail(context);
    const { directory, gone } = this.#options;
    const offered = { algorithm: context.key.algo, blob: context.key.data };
    const identity = await directory.identifyByKey(context.username, offered, gone);
    if (identity === null) return this.#fail(context);
    const { signature, blob, hashAlgo } = context;
    if (signature === undefined || blob === undefined) {
      // ssh2 answers SSH_MSG_USERAUTH_PK_OK to this: go on and sign. It lets nobody in.
      context.accept();
      return;
    }
    // verify() may return an Error, which is as truthy as true.
    if (key.verify(blob, signature, hashAlgo) !== true) return this.#fail(context);
    const place = this.#options.takePlace(identity.uid);
    if (place !== 'taken') return this.#refuseOneMore(identity.uid, place);
    this.#key = offered;
    this.#principal = {
      uid: identity.uid,
      door: 'ssh',
      credential: `ssh ${keyKind(offered.algorithm)} ${fingerprint(offered.blob)}`,
      address: this.#options.address,
      onlyTool: identity.onlyTool,
      scope: 'manage',
      isOperator: false,
    };
    this.#options.throttle.succeeded(context.username, this.#options.address);
    context.accept();
  }

  /** The offered key where it is one that may log in, before anybody is asked whose it is. */
  #read({ key, hashAlgo }: PublicKeyAuthContext): ParsedKey | null {
    if (isHardwareKey(key.algo) && !this.#isWarnedOfHardware) {
      this.#isWarnedOfHardware = true;
      const { message, hint } = explain('hardware key');
      sendBanner(this.#client, asWarning({ message, hint, id: null }));
      this.#options.log.info({ login: shown(this.#name), algorithm: key.algo }, 'hardware key offered');
    }
    // An RSA signature without a hash algorithm is `ssh-rsa`, which is SHA-1 (RFC 8332).
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
    // Whoever proves a key is let in all the same; this only ends the connections of those who do not.
    if (waitMs > 0) {
      this.#end(
        'Too many logins failed from here.',
        `Wait ${Math.ceil(waitMs / 1000)} s, and try with the right key: ssh -o IdentitiesOnly=yes -i KEYFILE.`,
      );
    } else if (this.#failures >= MOST_FAILURES) {
      this.#end(
        `None of the first ${MOST_FAILURES} keys that your client offered belongs to ${shown(context.username)} here.`,
        'Offer the right one alone: ssh -o IdentitiesOnly=yes -i KEYFILE, or for git: git config core.sshCommand "ssh -o IdentitiesOnly=yes -i KEYFILE".',
      );
    } else {
      context.reject(['publickey']);
    }
  }

  #refuseOneMore(uid: string, place: Exclude<Place, 'taken'>): void {
    const { log, address } = this.#options;
    if (place === 'server-full') {
      log.warn({ uid, address }, 'ssh login refused: all connections are taken');
      this.#end('This server has as many connections as it may have.', 'Try again in a minute.');
      return;
    }
    log.info({ uid, address }, 'ssh login refused: the person has too many connections');
    this.#end(
      `${uid} has as many connections to this server as one person may have.`,
      'Close one of them (perhaps one that follows a log), and try again.',
    );
  }

  /** Where the directory cannot answer, nobody is let in, and nobody is told that their key is wrong. */
  #refuseAll(error: unknown): void {
    if (this.#options.gone.aborted) return;
    const answer = answerTo(error);
    const { log, address } = this.#options;
    const message = error instanceof DeployError ? 'login impossible' : 'login broke';
    logFailure(log, { error, message, facts: { id: answer.id, login: shown(this.#name), address } });
    this.#end(answer.message, answer.hint);
  }

  #end(message: string, hint: string): void {
    sendBanner(this.#client, asWarning({ message, hint, id: null }));
    this.#client.end();
  }

  #onClose(): void {
    const { throttle, address, audit, log } = this.#options;
    if (this.#principal !== null || this.#failures === 0) return;
    // Whoever is slowed down has lines already. A stranger who goes on would fill the disk.
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
