/** One packet of gitprotocol-common(5); `payload` is null for the special packets (flush, delimiter, end). */
export interface Packet {
  /** The whole packet, header included. */
  readonly raw: Buffer;
  readonly payload: Buffer | null;
}

export const flushPacket = Buffer.from('0000');

// gitprotocol-common(5): a packet has at most 65520 bytes; side-band-64k takes 5 of them for header and band.
const MAX_PACKET = 65_520;
const MAX_BAND_DATA = MAX_PACKET - 5;

/** Encodes bytes as one packet. @throws RangeError if there are more than 65,516 bytes. */
export function pktLine(payload: Buffer | string): Buffer {
  const bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
  if (bytes.length > MAX_PACKET - 4) throw new RangeError(`a packet cannot have ${bytes.length} bytes`);
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, '0')), bytes]);
}

/** Encodes bytes as packets of a side band: 1 is data, 2 progress, 3 a fatal error. */
export function sideBand(band: 1 | 2 | 3, data: Buffer | string): Buffer {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(data);
  const packets: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += MAX_BAND_DATA) {
    packets.push(pktLine(Buffer.concat([Buffer.of(band), bytes.subarray(start, start + MAX_BAND_DATA)])));
  }
  return Buffer.concat(packets);
}

/** Splits a byte stream into packets. Chunks may end anywhere. */
export class PacketReader {
  #bytes: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
  }

  /** The bytes after the last packet that `next` returned. */
  get rest(): Buffer {
    return this.#bytes;
  }

  /**
   * Returns the next complete packet. Null if more bytes must arrive first.
   *
   * @throws Error if the bytes are not a packet.
   */
  next(): Packet | null {
    if (this.#bytes.length < 4) return null;
    const header = this.#bytes.toString('latin1', 0, 4);
    const length = /^[0-9a-fA-F]{4}$/.test(header) ? Number.parseInt(header, 16) : Number.NaN;
    if (Number.isNaN(length) || length === 3 || length > MAX_PACKET) throw new Error('not a pkt-line');
    const size = Math.max(length, 4);
    if (this.#bytes.length < size) return null;
    const raw = this.#bytes.subarray(0, size);
    this.#bytes = this.#bytes.subarray(size);
    return { raw, payload: length < 4 ? null : raw.subarray(4) };
  }
}
