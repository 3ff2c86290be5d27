import { flushPacket, PacketReader, pktLine } from './pkt-line.ts';

/**
 * One command of a push: move this ref from `oldId` to `newId`. Zeros as `oldId` create the ref, as `newId` delete it.
 */
export interface RefCommand {
  readonly oldId: string;
  readonly newId: string;
  readonly ref: string;
}

/** The part of a push before the pack (gitprotocol-pack(5), "Reference Update Request and Packfile Transfer"). */
export interface CommandList {
  readonly commands: readonly RefCommand[];
  /**
   * Those of the client's capabilities that this server knows, with their values, for example `agent=git/2.39.5`. git
   * gets only these capabilities, so git never does what the server does not expect.
   */
  readonly capabilities: ReadonlySet<string>;
  /** The commits at which the client's shallow clone ends. */
  readonly shallow: readonly string[];
  readonly pushOptions: readonly string[];
  /**
   * True if the client sent more lines than `mostLines`. The list then has only what the first `mostLines` lines say.
   */
  readonly isCut?: boolean;
}

export const zeroId = '0'.repeat(40);

export function isZero(id: string): boolean {
  return /^0+$/.test(id);
}

export function hasCapability(list: CommandList, name: string): boolean {
  return list.capabilities.has(name);
}

const COMMAND = /^([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) ([^\0\n]+)$/;
const MAX_BYTES = 1024 * 1024;
/**
 * The longest name of a ref that the server reads. The answer must have the name and a reason in one packet of at most
 * 65,520 bytes. No file system can store a name that is longer than this.
 */
const MAX_REF_BYTES = 60_000;

/**
 * The capabilities of a push (gitprotocol-capabilities(5)), without `push-cert`, which is refused. git itself also
 * takes `side-band-64k=1` for `side-band-64k`.
 */
const CAPABILITY =
  /^(report-status|report-status-v2|side-band-64k|atomic|push-options|quiet|ofs-delta|delete-refs|(object-format|agent|session-id)=[!-~]+)$/;

/** Reads the command list from the first bytes of a push, in chunks of any size. */
export class CommandListReader {
  readonly #packets = new PacketReader();
  readonly #commands: RefCommand[] = [];
  readonly #shallow: string[] = [];
  readonly #pushOptions: string[] = [];
  readonly #mostLines: number;
  #lines = 0;
  #capabilities: ReadonlySet<string> = new Set();
  #isInOptions = false;
  #bytes = 0;

  /**
   * @param mostLines - How many lines the reader reads at most. 1 MiB has room for 260,000 lines, and a client can
   * compress them to a kilobyte, but to read so many takes longer than all other work for a push.
   */
  constructor(mostLines: number = Number.POSITIVE_INFINITY) {
    this.#mostLines = mostLines;
  }

  /**
   * Takes the next bytes of the push.
   *
   * @returns the list once it is complete or has too many lines, and null before that.
   * @throws Error if the bytes are not a command list, or if the list exceeds 1 MiB.
   */
  push(chunk: Buffer): CommandList | null {
    this.#bytes += chunk.length;
    this.#packets.push(chunk);
    for (let packet = this.#packets.next(); packet !== null; packet = this.#packets.next()) {
      if (packet.payload !== null) {
        this.#lines += 1;
        if (this.#lines > this.#mostLines) return { ...this.#list(), isCut: true };
        this.#line(packet.payload.toString('utf8').replace(/\n$/, ''));
      } else if (!this.#isInOptions && this.#capabilities.has('push-options')) {
        this.#isInOptions = true;
      } else {
        return this.#list();
      }
    }
    if (this.#bytes > MAX_BYTES) throw new Error('the command list is longer than 1 MiB');
    return null;
  }

  /** The bytes that arrived after the complete list: the beginning of the pack. */
  get rest(): Buffer {
    return this.#packets.rest;
  }

  #line(line: string): void {
    if (this.#isInOptions) {
      this.#pushOptions.push(line);
      return;
    }
    if (line.startsWith('shallow ')) {
      this.#shallow.push(line.slice('shallow '.length));
      return;
    }
    const [text = '', capabilities] = line.split('\0', 2);
    if (capabilities !== undefined)
      this.#capabilities = new Set(capabilities.split(/\s+/).filter((each) => CAPABILITY.test(each)));
    const match = COMMAND.exec(text);
    if (match === null) throw new Error('not a ref update');
    const [, oldId = '', newId = '', ref = ''] = match;
    if (Buffer.byteLength(ref) > MAX_REF_BYTES) throw new Error('the name of a ref is too long');
    this.#commands.push({ oldId, newId, ref });
  }

  #list(): CommandList {
    return {
      commands: this.#commands,
      capabilities: this.#capabilities,
      shallow: this.#shallow,
      pushOptions: this.#pushOptions,
    };
  }
}

/** Encodes a command list for receive-pack, in the form that `CommandListReader` reads. */
export function encodeCommandList(list: CommandList): Buffer {
  const capabilities = [...list.capabilities].join(' ');
  const lines = list.commands.map(({ oldId, newId, ref }, index) =>
    pktLine(`${oldId} ${newId} ${ref}${index === 0 ? `\0 ${capabilities}` : ''}`),
  );
  const options =
    list.commands.length > 0 && list.capabilities.has('push-options')
      ? [...list.pushOptions.map((option) => pktLine(option)), flushPacket]
      : [];
  return Buffer.concat([
    ...list.shallow.map((id) => pktLine(`shallow ${id}`)),
    ...lines,
    flushPacket,
    ...options,
  ]);
}
