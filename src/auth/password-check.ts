import { createHmac, randomBytes } from 'node:crypto';
import { DeployError } from '../core/errors.ts';
import { decoy, isPassword, type PasswordHash } from './password.ts';

// Each check holds 32 MiB and a thread of libuv's four for 0.1 s; the other threads are left to files.
const AT_ONCE = 2;
const MOST_WAITING = 64;
const REMEMBERED = 1000;
const REMEMBER_MS = 5 * 60_000;

/**
 * Checks passwords, few at a time, in the same time for users that are there and that are not.
 * A password that fitted is known again for five minutes while the stored one stays as it is: a git client
 * sends it with each request.
 */
export class PasswordCheck {
  readonly #decoy = decoy();
  readonly #secret = randomBytes(32);
  readonly #fitted = new Map<string, number>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @throws DeployError `DIRECTORY_UNAVAILABLE` where too many are waiting. @throws the signal's reason. */
  async fits(password: string, stored: PasswordHash | null, signal: AbortSignal): Promise<boolean> {
    if (password === '') return false;
    const against = stored ?? this.#decoy;
    const digest = createHmac('sha256', this.#secret)
      .update(against.salt)
      .update(against.hash)
      .update(password)
      .digest('base64');
    if (stored !== null && (this.#fitted.get(digest) ?? 0) > performance.now()) return true;
    await this.#enter(signal);
    try {
      signal.throwIfAborted();
      const isRight = await isPassword(password, against);
      if (stored === null || !isRight) return false;
      this.#remember(digest);
      return true;
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    if (this.#running < AT_ONCE) {
      this.#running += 1;
      return;
    }
    if (this.#waiting.length >= MOST_WAITING) {
      throw new DeployError(
        'DIRECTORY_UNAVAILABLE',
        'Too many people are logging in just now.',
        'Try again in a few seconds, or use SSH with a key.',
      );
    }
    await new Promise<void>((resolve, reject) => {
      const turn = () => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(signal.reason);
      };
      this.#waiting.push(turn);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  /** Hands the place to the next that waits. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }

  #remember(digest: string): void {
    this.#fitted.delete(digest);
    this.#fitted.set(digest, performance.now() + REMEMBER_MS);
    const oldest = this.#fitted.keys().next().value;
    if (this.#fitted.size > REMEMBERED && oldest !== undefined) this.#fitted.delete(oldest);
  }
}
