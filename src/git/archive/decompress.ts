import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { DeployError } from '../../core/errors.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';

/** How many more bytes a decoder may take than it returns, because some wait in its buffers. */
const MAX_AHEAD_BYTES = 2 * 1024 ** 2;
/** How many bytes at the beginning of the data show which compression it has. */
const MAGIC_BYTES = 6;
/** The largest window of zstd that is accepted, as a power of two: 16 MiB. The levels 1 to 19 of zstd need less. */
const ZSTD_WINDOW = 24;

/**
 * Compressions, by the bytes that compressed data begins with. `decoder` is null if this server does not read the
 * compression.
 */
const COMPRESSIONS: readonly {
  readonly magic: Buffer;
  readonly name: string;
  readonly decoder: (() => Transform) | null;
}[] = [
  { magic: Buffer.from([0x1f, 0x8b]), name: 'gzip', decoder: createGunzip },
  {
    magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
    name: 'zstd',
    decoder: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW } }),
  },
  { magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), name: 'xz', decoder: null },
  { magic: Buffer.from('BZh'), name: 'bzip2', decoder: null },
  { magic: Buffer.from('PK\x03\x04'), name: 'zip', decoder: null },
];

/**
 * Yields what the sent bytes unpack to, or the bytes themselves if they are not compressed.
 *
 * @param maxBytes - The most bytes that may be sent, and the most that they may unpack to.
 * @throws DeployError `NOT_AN_ARCHIVE` if nothing was sent, if the bytes are damaged, or for a compression that this
 * server does not read; `ARCHIVE_TOO_LARGE` if the sent or the unpacked bytes exceed `maxBytes`; the error of `sent`.
 */
export async function* unpacked(
  sent: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  const source = new Source(sent, maxBytes);
  try {
    yield* atMost(source.unpacked(), maxBytes);
  } catch (error) {
    throw error instanceof DeployError ? error : (source.failure ?? notAnArchive('it is damaged', error));
  }
}

/** The bytes that a client sends. */
class Source {
  readonly #sent: AsyncIterable<Uint8Array>;
  #unpackedBytes = 0;
  /** The error with which the client's bytes ended, as opposed to an error of the decoder. Null if there was none. */
  failure: unknown = null;

  constructor(sent: AsyncIterable<Uint8Array>, maxBytes: number) {
    this.#sent = atMost(sent, maxBytes);
  }

  async *unpacked(): AsyncGenerator<Uint8Array> {
    const chunks = this.#chunks();
    let head = Buffer.alloc(0);
    while (head.length < MAGIC_BYTES) {
      const { value, done } = await chunks.next();
      if (done === true) break;
      head = Buffer.concat([head, value]);
    }
    if (head.length === 0) throw notAnArchive('nothing was sent');
    const compression = COMPRESSIONS.find(({ magic }) => head.subarray(0, magic.length).equals(magic));
    if (compression === undefined) {
      yield head;
      yield* chunks;
      return;
    }
    const { decoder, name } = compression;
    if (decoder === null) throw notAnArchive(`this server does not read ${name}`);
    const output = decoder();
    const feeding = pipeline(Readable.from(this.#ahead(name, head, chunks), { highWaterMark: 1 }), output);
    // Ignore a failure here, because the loop below throws the same error.
    feeding.catch(() => undefined);
    for await (const chunk of output as AsyncIterable<Buffer>) {
      this.#unpackedBytes += chunk.length;
      yield chunk;
    }
    await feeding;
  }

  /** Yields the bytes for a decoder. @throws DeployError `NOT_AN_ARCHIVE` if they unpack to far fewer bytes. */
  async *#ahead(
    name: string,
    head: Uint8Array,
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    yield head;
    let sentBytes = head.length;
    for await (const chunk of chunks) {
      sentBytes += chunk.length;
      // Refuse data that is larger than what it unpacks to: millions of gzip members or zstd frames that unpack to
      // nothing would keep a decoder busy for hours.
      if (sentBytes > this.#unpackedBytes * 1.01 + MAX_AHEAD_BYTES)
        throw notAnArchive(`its ${name} is larger than what it unpacks to`);
      yield chunk;
    }
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#sent;
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}

async function* atMost(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes)
      throw new DeployError(
        'ARCHIVE_TOO_LARGE',
        `the archive has more than ${mebibytes(maxBytes)}, counting the files that would be left out`,
        'Leave out what the tool does not need, for example with: tar cz --exclude=.git --exclude=node_modules . Nothing was deployed.',
      );
    yield chunk;
  }
}

export function notAnArchive(why: string, cause?: unknown): DeployError {
  return new DeployError(
    'NOT_AN_ARCHIVE',
    `what was sent is not a whole tar: ${why}`,
    'Send a tar, plain or compressed by gzip or zstd, on standard input: tar cz . | ssh … deploy TOOL. Nothing was deployed.',
    { cause },
  );
}
