import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { execa } from 'execa';

/** A source that is handed out: one archive to whoever has its token. */
export interface SourceOffer extends Disposable {
  readonly token: string;
}

interface Waiting {
  readonly folder: string;
  /** On the clock of `performance.now()`. */
  readonly until: number;
}

/**
 * The sources of builds that are being started, each for one reader who shows its token, once and not for long. A
 * token is known by its hash alone.
 */
export class SourceOffers {
  readonly #waiting = new Map<string, Waiting>();

  /** @param lifeMs - After this the token is worth nothing. */
  offer(folder: string, lifeMs: number): SourceOffer {
    const token = randomBytes(32).toString('base64url');
    const key = hashOf(token);
    this.#waiting.set(key, { folder, until: performance.now() + lifeMs });
    return { token, [Symbol.dispose]: () => void this.#waiting.delete(key) };
  }

  /** What the token is for, as a tar archive that begins when it is called; null where it is for nothing. */
  take(token: string): ((signal: AbortSignal) => Readable) | null {
    const key = hashOf(token);
    const found = this.#waiting.get(key);
    this.#waiting.delete(key);
    if (found === undefined || found.until < performance.now()) return null;
    return (signal) => archive(found.folder, signal);
  }
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/**
 * Follows no link; the order of files and their owner are the same wherever it is made. The folder itself is not in
 * it: whoever unpacks has one that is not theirs to change.
 */
function archive(folder: string, signal: AbortSignal): Readable {
  const child = execa(
    'tar',
    [
      ...['--create', '--file=-', '--sort=name', '--owner=0', '--group=0', '--numeric-owner'],
      ...['--directory', folder, '--null', '--verbatim-files-from', '--files-from=-'],
    ],
    {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
      extendEnv: false,
      cancelSignal: signal,
      // As bytes: git takes names that are no UTF-8.
      input: joined(readdirSync(folder, { encoding: 'buffer' }).sort(Buffer.compare)),
      stderr: 'ignore',
      buffer: false,
      encoding: 'buffer',
    },
  );
  return child.readable({ from: 'stdout' });
}

/** Each with a NUL after it. */
function joined(names: readonly Buffer[]): Buffer {
  return Buffer.concat(names.flatMap((name) => [name, Buffer.of(0)]));
}
