import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Transform, type TransformCallback } from 'node:stream';
import { DeployError, systemCode } from '../../core/errors.ts';

/**
 * The seal takes one block of tar. tar stops reading at the end of its archive, so it does not see the seal behind it.
 */
export const SEAL_BYTES = 512;
const SEAL = /^toolforge-push archive\nkind ([a-z]+)\nsha256 ([0-9a-f]{64})\nbytes (\d{1,15})\n\0*$/;

/** `backup`: everything of a server. `tool`: one tool. */
export type ArchiveKind = 'backup' | 'tool';

/**
 * Passes an archive on and adds its seal: one block with the number of bytes and the SHA-256 of all bytes before it.
 */
export class Sealing extends Transform {
  readonly #kind: ArchiveKind;
  readonly #beforeSeal: () => Promise<void>;
  readonly #hash: Hash = createHash('sha256');
  bytes = 0;

  /**
   * @param beforeSeal - Called before the seal is added behind the archive. If the archive is incomplete, the returned
   * promise must reject: the archive then gets no seal.
   */
  constructor(kind: ArchiveKind, beforeSeal: () => Promise<void>) {
    super();
    this.#kind = kind;
    this.#beforeSeal = beforeSeal;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#hash.update(chunk);
    this.bytes += chunk.length;
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    this.#beforeSeal().then(() => done(null, this.#seal()), done);
  }

  #seal(): Buffer {
    const text = `toolforge-push archive\nkind ${this.#kind}\nsha256 ${this.#hash.digest('hex')}\nbytes ${this.bytes}\n`;
    return Buffer.concat([Buffer.from(text)], SEAL_BYTES);
  }
}

/**
 * Reads a whole archive, and compares it with its seal. Changes nothing.
 *
 * @param name - What messages call the file.
 * @throws DeployError `NO_FILE` if the file cannot be read; `BAD_ARCHIVE` if the seal differs or is of another kind.
 */
export async function assertSealed(path: string, kind: ArchiveKind, name: string = path): Promise<void> {
  const { size, seal } = await readSeal(path).catch((cause: unknown) => {
    if (systemCode(cause) === null) throw cause;
    throw new DeployError(
      'NO_FILE',
      `the file ${name} cannot be read (${systemCode(cause)})`,
      'Check its path.',
      {
        cause,
      },
    );
  });
  const [, sealed, sum, bytes] = SEAL.exec(seal) ?? [];
  if (sealed === undefined)
    throw badArchive(name, 'it is no archive of toolforge-push, or its end is missing');
  if (sealed !== kind)
    throw badArchive(name, `it is an archive of the kind ${sealed}, and this command takes the kind ${kind}`);
  if (size - SEAL_BYTES !== Number(bytes))
    throw badArchive(name, `it has ${size - SEAL_BYTES} bytes instead of ${bytes}`);
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { end: Math.max(0, size - SEAL_BYTES - 1) }))
    hash.update(chunk);
  if (hash.digest('hex') !== sum) throw badArchive(name, 'its checksum differs, so it was damaged');
}

async function readSeal(path: string): Promise<{ size: number; seal: string }> {
  const { size } = await stat(path);
  if (size < 2 * SEAL_BYTES) return { size, seal: '' };
  await using file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(SEAL_BYTES), 0, SEAL_BYTES, size - SEAL_BYTES);
  return { size, seal: buffer.toString('latin1') };
}

export function badArchive(name: string, why: string): DeployError {
  return new DeployError(
    'BAD_ARCHIVE',
    `the file ${name} cannot be used: ${why}`,
    'Nothing has changed. Use another file.',
  );
}
