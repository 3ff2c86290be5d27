import { DeployError } from '../../core/errors.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import type { ArchiveWork } from './archive-work.ts';
import { ByteReader } from './byte-reader.ts';
import { notAnArchive, unpacked } from './decompress.ts';
import { BLOCK_BYTES, type BlockHeader, LongNames, readHeader } from './tar-headers.ts';

/** One entry of a tar. The name of the entry and the target of a link are not checked yet. */
export interface TarEntry {
  readonly header: BlockHeader;
  /** The bytes of the entry. Bytes that are left when the caller asks for the next entry are skipped. */
  readonly content: AsyncIterable<Uint8Array>;
}

export interface TarLimits {
  /** The most bytes that a client may send, and also the most bytes that these may unpack to. */
  readonly bytes: number;
  /** The most headers of any type. An entry can have more than one, for a long name. */
  readonly headers: number;
}

/**
 * The most bytes of one header of type `long`, and of all such headers of a tar. The reader has each whole header in
 * memory. PATH_MAX of Linux is 4 KiB.
 */
const MAX_LONG_HEADER_BYTES = 64 * 1024;
const MAX_LONG_HEADERS_BYTES = 16 * 1024 ** 2;

/**
 * Yields the entries of a tar: plain, or compressed by gzip or zstd. Writes nothing to disk. The tar may be hostile. So
 * the number and the size of its headers are limited, and reading them pauses often, so that this process can do its
 * other work.
 *
 * @param work - Counts the time that the reading takes, unless the caller has paused it.
 * @throws DeployError `NOT_AN_ARCHIVE` if the bytes are no tar or if its end is missing; `ARCHIVE_TOO_LARGE` if the tar
 * exceeds `limits`; the error of `sent`.
 */
export async function* readTar(
  sent: AsyncIterable<Uint8Array>,
  limits: TarLimits,
  work: ArchiveWork,
): AsyncGenerator<TarEntry> {
  await using bytes = new ByteReader(withTurns(unpacked(sent, limits.bytes), work));
  const names = new LongNames();
  let [headers, longBytes] = [0, 0];
  for (;;) {
    const block = await wanted(bytes, BLOCK_BYTES);
    if (isZero(block)) break;
    headers += 1;
    if (headers > limits.headers) throw tooManyHeaders(`${limits.headers} headers`);
    await work.turn();
    const header = readHeader(block);
    if (header === null) throw notAnArchive('it is damaged, or it is not a tar');
    if (header.type === 'long') {
      longBytes += header.size;
      if (header.size > MAX_LONG_HEADER_BYTES || longBytes > MAX_LONG_HEADERS_BYTES)
        throw tooManyHeaders(
          `${mebibytes(MAX_LONG_HEADERS_BYTES)} of names, or ${MAX_LONG_HEADER_BYTES} bytes in one header`,
        );
      names.take(header, await wanted(bytes, header.size));
      await wanted(bytes, padding(header.size));
      continue;
    }
    const entry = names.apply(header);
    const content = new Content(bytes, entry.size);
    yield { header: entry, content };
    for await (const _ of content);
    await wanted(bytes, padding(entry.size));
  }
  if (!isZero(await wanted(bytes, BLOCK_BYTES))) throw notAnArchive('it is damaged');
  for await (const rest of bytes.rest()) if (!isZero(rest)) throw notAnArchive('something follows its end');
}

/** Returns the next `length` bytes. @throws DeployError `NOT_AN_ARCHIVE` if the tar has fewer bytes left. */
async function wanted(bytes: ByteReader, length: number): Promise<Buffer> {
  return (await bytes.take(length)) ?? cut();
}

function cut(): never {
  throw notAnArchive('its end is missing');
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.subarray(1).equals(bytes.subarray(0, -1));
}

/** How many bytes of padding follow the content of an entry, to fill its last block. */
function padding(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** The bytes of an entry. A second iteration continues where the first one stopped. */
class Content implements AsyncIterable<Uint8Array> {
  readonly #bytes: ByteReader;
  #left: number;

  constructor(bytes: ByteReader, size: number) {
    this.#bytes = bytes;
    this.#left = size;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (this.#left > 0) {
      const chunk = (await this.#bytes.some(this.#left)) ?? cut();
      this.#left -= chunk.length;
      yield chunk;
    }
  }
}

/** Yields the chunks. The time in which it waits for a chunk does not count as work. */
async function* withTurns(chunks: AsyncIterable<Uint8Array>, work: ArchiveWork): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { value, done } = await work.without(iterator.next());
      if (done === true) return;
      await work.turn();
      yield value;
    }
  } finally {
    await iterator.return?.();
  }
}

function tooManyHeaders(limit: string): DeployError {
  return new DeployError(
    'ARCHIVE_TOO_LARGE',
    `the archive has more than ${limit}`,
    'Make the archive again, with the files of the tool alone: tar cz . Nothing was deployed.',
  );
}
