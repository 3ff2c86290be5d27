import { AsyncLocalStorage } from 'node:async_hooks';
import { BerReader, ProtocolOperation } from 'ldapts';

const MIB = 1024 * 1024;
/** The maximum size of one answer, as `sizeOf` counts it. The pages of a listing count as one answer. */
const MAX_ANSWER_BYTES = 8 * MIB;
const MAX_LISTING_BYTES = 64 * MIB;
/** The maximum size of all unfinished answers together. */
const MAX_TOGETHER_BYTES = 128 * MIB;
/** How many bytes each part of a message counts in addition. So an answer of many tiny parts is limited, too. */
const PART_BYTES = 64;

/** The types of messages that do not end an answer. A message of any other type is the last one of its answer. */
const UNFINISHED: readonly (number | null)[] = [
  ProtocolOperation.LDAP_RES_SEARCH_ENTRY,
  ProtocolOperation.LDAP_RES_SEARCH_REF,
];

/** The answer of an LDAP server exceeded a limit, so its connection was ended. */
export class AnswerTooLarge extends Error {
  constructor({ size, messages }: Answer) {
    super(
      `The answer of the LDAP server is too large: it has reached ${size} bytes in ${messages} messages.`,
    );
  }
}

/** The answer to one question. */
interface Answer {
  readonly maxSize: number;
  size: number;
  messages: number;
  /** The number of the request that is not answered yet. Null before the first request. */
  id: number | null;
  /** Why this answer ended its connection. Null if it did not. */
  error: AnswerTooLarge | null;
}

/** The answer to the question that is being asked. */
const current = new AsyncLocalStorage<Answer>();

/** The size of all unfinished answers, which several connections share. */
export class AnswerTotal {
  size = 0;
}

/** The answers that one connection receives. Limits the size of each answer, because ldapts collects it in memory. */
export class LdapAnswers {
  readonly #total: AnswerTotal;
  readonly #awaited = new Map<number, Answer>();

  constructor(total: AnswerTotal) {
    this.#total = total;
  }

  /**
   * Runs `ask`, which sends requests one after the other. Their answers together count as one answer.
   *
   * @throws AnswerTooLarge if the answer was too large; otherwise the error of `ask`.
   */
  async receive<T>(ask: () => Promise<T>, { isListing = false } = {}): Promise<T> {
    const maxSize = isListing ? MAX_LISTING_BYTES : MAX_ANSWER_BYTES;
    const answer: Answer = { maxSize, size: 0, messages: 0, id: null, error: null };
    try {
      return await current.run(answer, ask);
    } catch (error) {
      throw answer.error ?? error;
    } finally {
      if (answer.id !== null) this.#awaited.delete(answer.id);
      this.#total.size -= answer.size;
    }
  }

  /** Call this before a request is sent. */
  requested(request: Buffer): void {
    const answer = current.getStore();
    const { id } = headOf(request);
    if (answer === undefined) return;
    answer.id = id;
    this.#awaited.set(id, answer);
  }

  /**
   * Counts a message of the LDAP server.
   *
   * @throws AnswerTooLarge if the answer is now too large; Error if the message answers no request.
   */
  count(message: Buffer): void {
    const { id, operation } = headOf(message);
    const answer = this.#awaited.get(id);
    if (answer === undefined) throw new Error('The LDAP server sent a message that answers no request.');
    const size = sizeOf(message);
    answer.size += size;
    answer.messages += 1;
    this.#total.size += size;
    if (answer.size > answer.maxSize || this.#total.size > MAX_TOGETHER_BYTES) {
      answer.error = new AnswerTooLarge(answer);
      throw answer.error;
    }
    if (!UNFINISHED.includes(operation)) this.#awaited.delete(id);
  }
}

/** About how much memory a message takes: its bytes, and `PART_BYTES` for each of its parts. */
export function sizeOf(message: Buffer): number {
  let size = message.length;
  for (let at = 0; at + 1 < message.length; ) {
    const tag = message[at] ?? 0;
    const first = message[at + 1] ?? 0;
    const digits = first < 0x80 ? 0 : Math.min(first & 0x7f, 4);
    const content = at + 2 + digits;
    if (content > message.length) break;
    const length = digits === 0 ? first & 0x7f : message.readUIntBE(at + 2, digits);
    // The bit 0x20 marks a part that consists of parts (X.690 section 8.1.2.5).
    at = (tag & 0x20) === 0 ? content + length : content;
    size += PART_BYTES;
  }
  return size;
}

function headOf(message: Buffer): { id: number; operation: number | null } {
  const reader = new BerReader(message);
  reader.readSequence();
  const id = reader.readInt();
  if (id === null) throw new Error('The LDAP server sent a message without a number.');
  return { id, operation: reader.readSequence() };
}
