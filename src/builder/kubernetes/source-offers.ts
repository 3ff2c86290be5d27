import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { execa } from 'execa';

/** A source that can be fetched once, with its token. */
export interface SourceOffer extends Disposable {
  readonly token: string;
}

interface Waiting {
  readonly folder: string;
  /** When the offer ends, by the clock of `performance.now()`. */
  readonly until: number;
}

/**
 * The sources of builds that are starting. Each can be fetched once with its token, for a limited time. Only hashes of
 * the tokens are kept.
 */
export class SourceOffers {
  readonly #waiting = new Map<string, Waiting>();

  /**
   * Offers a source to a build, and returns the token. @param lifeMs - After this time, the token is no longer valid.
   */
  offer(folder: string, lifeMs: number): SourceOffer {
    const token = randomBytes(32).toString('base64url');
    const key = hashOf(token);
    this.#waiting.set(key, { folder, until: performance.now() + lifeMs });
    return { token, [Symbol.dispose]: () => void this.#waiting.delete(key) };
  }

  /**
   * Takes the source of this token, so that nobody can take it again. Returns a function that makes the source's tar
   * archive; null if the token is not valid.
   */
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
 * Makes a tar archive of what is in the folder. Symbolic links stay links. Order and owners of files are always the
 * same. The archive leaves out the folder itself, because the user who unpacks the archive may not change the mode of
 * the target folder.
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
      // Names are bytes, because git allows names that are not UTF-8.
      input: joined(readdirSync(folder, { encoding: 'buffer' }).sort(Buffer.compare)),
      stderr: 'ignore',
      buffer: false,
      encoding: 'buffer',
    },
  );
  return child.readable({ from: 'stdout' });
}

/** Joins names, with a NUL after each name. */
function joined(names: readonly Buffer[]): Buffer {
  return Buffer.concat(names.flatMap((name) => [name, Buffer.of(0)]));
}
