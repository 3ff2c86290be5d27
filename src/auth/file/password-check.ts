import { createHmac, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { tooManyLogins } from '../directory-timeout.ts';
import { RecentMap } from '../recent-map.ts';
import { decoy, isPassword, type PasswordHash } from './password-hash.ts';

// At most two checks run at the same time, because each needs 32 MiB and a processor for 0.1 s. So two of libuv's four
// threads stay free, and one processor if there are several.
const MAX_AT_ONCE = Math.max(1, Math.min(2, availableParallelism() - 1));
const MAX_WAITING = 64;
const REMEMBERED = 1000;
const REMEMBER_MS = 5 * 60_000;

/**
 * Checks passwords, at most two at a time. To check a wrong password takes the same time whether the user exists or
 * not. A correct password is remembered for five minutes or until the stored password changes, because git sends it
 * with every request.
 */
export class PasswordCheck {
  readonly #decoy = decoy();
  readonly #secret = randomBytes(32);
  readonly #fitted = new RecentMap<number>(REMEMBERED);
  readonly #turns = new ConcurrencyLimit(MAX_AT_ONCE, { most: MAX_WAITING, refusal: tooManyLogins });

  /**
   * Whether the password is the stored one. `stored` is null if the user is unknown, disabled or has no password: then
   * the answer is false.
   *
   * @throws DeployError `DIRECTORY_BUSY` if too many checks wait; the signal's reason.
   */
  async fits(password: string, stored: PasswordHash | null, signal: AbortSignal): Promise<boolean> {
    if (password === '') return false;
    const against = stored ?? this.#decoy;
    const digest = createHmac('sha256', this.#secret)
      .update(against.salt)
      .update(against.hash)
      .update(password)
      .digest('base64');
    if (stored !== null && (this.#fitted.get(digest) ?? 0) > performance.now()) return true;
    const isRight = await this.#turns.run(() => isPassword(password, against), signal);
    if (stored === null || !isRight) return false;
    this.#fitted.set(digest, performance.now() + REMEMBER_MS);
    return true;
  }
}
