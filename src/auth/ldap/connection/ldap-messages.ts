import type { Socket } from 'node:net';
import { BerReader, BerWriter, ProtocolOperation } from 'ldapts';
import { type LdapAnswers, sizeOf } from './ldap-answers.ts';

/** The maximum size of one entry, in bytes. A group with 10,000 members has about half of this size. */
const MAX_ENTRY_BYTES = 1024 * 1024;
/** The maximum size of one entry as `sizeOf` counts it: with some bytes in addition for each part, such as a value. */
const MAX_ENTRY_SIZE = 2 * MAX_ENTRY_BYTES;
/** How many bytes are read of a message that is too long. The name of its entry must be in these bytes. */
const HEAD_BYTES = 8192;
/** If an LDAP entry is too long to read, this is its only attribute. No LDAP server has an attribute with this name. */
export const TOO_LONG = 'toolforgePushTooLong';

const SEQUENCE = 0x30;
const SET = 0x31;
const OCTETS = 0x04;

/**
 * Makes the socket pass LDAP messages to ldapts whole and one at a time, for two reasons. ldapts calls itself for each
 * message of a chunk, so thousands of tiny messages in one chunk would overflow the stack and end the server. And
 * ldapts copies all earlier chunks of a message for each further chunk, so a long message would keep the server busy.
 *
 * An entry above `MAX_ENTRY_BYTES` or `MAX_ENTRY_SIZE` does not reach ldapts. Instead, ldapts gets an entry with the
 * same name that has only the attribute `TOO_LONG`.
 *
 * If an answer is too large for `answers`, the connection ends.
 */
export function readByMessages(socket: Socket, answers: LdapAnswers): void {
  const push = socket.push.bind(socket);
  const write = socket.write.bind(socket) as (request: Buffer, onSent: () => void) => boolean;
  const messages = new LdapMessages();
  socket.write = (request: Buffer, onSent: unknown) => {
    answers.requested(request);
    return write(request, onSent as () => void);
  };
  socket.push = (chunk: Buffer | null) => {
    if (chunk === null) return push(null);
    let wantsMore = true;
    try {
      for (const message of messages.read(chunk)) {
        answers.count(message);
        wantsMore = push(message);
      }
    } catch (error) {
      socket.destroy(error as Error);
      return false;
    }
    readLater(socket);
    return wantsMore;
  };
}

/** Sockets that have passed a chunk on, and wait before they read the next one. */
const paused = new Set<Socket>();

/**
 * Pauses a socket. In each turn of the event loop, one of the paused sockets may read on. Otherwise Node would read up
 * to 32 chunks of each long answer in one turn, and nothing else would happen meanwhile.
 */
function readLater(socket: Socket): void {
  socket.pause();
  if (paused.size === 0) setImmediate(resumeFirst);
  paused.add(socket);
}

function resumeFirst(): void {
  const [socket] = paused;
  if (socket === undefined) return;
  paused.delete(socket);
  socket.resume();
  if (paused.size > 0) setImmediate(resumeFirst);
}

/** Divides a stream into LDAP messages (RFC 4511 section 4.1.1). */
export class LdapMessages {
  /** The bytes of the next message that have arrived. */
  #chunks: Buffer[] = [];
  #size = 0;
  /** How many bytes of the next message must have arrived before `read` looks at it again. */
  #needed = 1;
  /** How many bytes of a message that is too long are still to come. */
  #dropped = 0;

  /**
   * Returns the messages that this chunk completes.
   *
   * @throws Error if the chunk is not LDAP, or if a message that is not an entry is too long.
   */
  *read(chunk: Buffer): Generator<Buffer> {
    const dropped = Math.min(this.#dropped, chunk.length);
    this.#dropped -= dropped;
    if (dropped < chunk.length) this.#chunks.push(chunk.subarray(dropped));
    this.#size += chunk.length - dropped;
    while (this.#size >= this.#needed) {
      const bytes = this.#chunks.length === 1 ? (this.#chunks[0] ?? chunk) : Buffer.concat(this.#chunks);
      const length = lengthOf(bytes);
      if (length === null) return this.#keep(bytes, bytes.length + 1);
      const isTooLong = length > MAX_ENTRY_BYTES;
      const needed = isTooLong ? HEAD_BYTES : length;
      if (bytes.length < needed) return this.#keep(bytes, needed);
      const message = bytes.subarray(0, length);
      yield isTooLong || sizeOf(message) > MAX_ENTRY_SIZE ? withoutValues(bytes, length) : message;
      this.#dropped = Math.max(0, length - bytes.length);
      this.#keep(bytes.subarray(length), 1);
    }
  }

  #keep(bytes: Buffer, needed: number): void {
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#size = bytes.length;
    this.#needed = needed;
  }
}

/** The length in bytes of the message at the start of `bytes`. Null if more bytes are needed to know it. */
function lengthOf(bytes: Buffer): number | null {
  if (bytes[0] !== undefined && bytes[0] !== SEQUENCE)
    throw new Error('The LDAP server sent something that is not an LDAP message.');
  const [, first] = bytes;
  if (first === undefined) return null;
  if (first < 0x80) return 2 + first;
  const digits = first & 0x7f;
  if (digits === 0 || digits > 4) throw new Error('The LDAP server sent a message without a valid length.');
  return bytes.length < 2 + digits ? null : 2 + digits + bytes.readUIntBE(2, digits);
}

/** Makes a message with only the name of an entry that was too large. `bytes` is the beginning of the large message. */
function withoutValues(bytes: Buffer, length: number): Buffer {
  const reader = new BerReader(bytes);
  reader.readSequence();
  const id = reader.readInt();
  const operation = reader.readSequence();
  const name = operation === ProtocolOperation.LDAP_RES_SEARCH_ENTRY ? reader.readString() : null;
  if (id === null || name === null)
    throw new Error(`The LDAP server sent a message of ${length} bytes, which is too long.`);
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(ProtocolOperation.LDAP_RES_SEARCH_ENTRY);
  writer.writeString(name);
  writer.startSequence();
  writer.startSequence(SEQUENCE);
  writer.writeString(TOO_LONG, OCTETS);
  writer.startSequence(SET);
  writer.writeString(String(length));
  for (let open = 0; open < 5; open += 1) writer.endSequence();
  return Buffer.from(writer.buffer);
}
