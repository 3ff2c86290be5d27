import { Transform, type TransformCallback } from 'node:stream';
import { flushPacket, PacketReader, sideBand } from './pkt-line.ts';
import { encodeReport, parseReport, type Report } from './report-status.ts';

/**
 * The answer to a push. Usually it is a report. It is a fatal message if the push ends before git can report, for
 * example because the client's bytes are no push or the disk is full. There is no answer if the client pushed no ref.
 */
export type Answer =
  | { readonly kind: 'report'; readonly report: Report; readonly progress: string }
  | { readonly kind: 'fatal'; readonly message: string }
  | { readonly kind: 'none' };

/**
 * The longest report of git that is accepted. A report has a line for each ref of the command list, which has at most 1
 * MiB.
 */
const MAX_REPORT_BYTES = 4 * 1024 * 1024;

/**
 * Passes the output of receive-pack to the client. The ref advertisement, progress (bands 2 and 3) and keep-alives
 * (empty band 1) pass at once. git's report (band 1) is held until git has ended. The function `answer` then chooses
 * what the client gets instead of this report.
 */
export class Outgoing extends Transform {
  readonly #packets = new PacketReader();
  readonly #report: Buffer[] = [];
  #reportBytes = 0;
  readonly #hasSideBand: () => boolean;
  readonly #answer: (gitsReport: Report | null) => Promise<Answer>;
  #isAdvertising: boolean;

  constructor(options: {
    readonly hasAdvertisement: boolean;
    /** True if the client accepts side bands. False until the client's capabilities are known. */
    readonly hasSideBand: () => boolean;
    readonly answer: (gitsReport: Report | null) => Promise<Answer>;
  }) {
    super();
    this.#isAdvertising = options.hasAdvertisement;
    this.#hasSideBand = options.hasSideBand;
    this.#answer = options.answer;
  }

  /** True if git has sent its ref advertisement. Always true over HTTP, because git then sends none. */
  get hasAdvertised(): boolean {
    return !this.#isAdvertising;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#packets.push(chunk);
      // The packets of `chunk` for the client are sent together, because git writes progress in packets of at most 128
      // bytes.
      const passing: Buffer[] = [];
      for (let packet = this.#packets.next(); packet !== null; packet = this.#packets.next()) {
        if (this.#isAdvertising) {
          passing.push(packet.raw);
          if (packet.payload === null) this.#isAdvertising = false;
        } else if (!this.#hasSideBand()) {
          this.#hold(packet.raw);
        } else if (packet.payload?.[0] === 1 && packet.payload.length > 1) {
          this.#hold(packet.payload.subarray(1));
        } else if (packet.payload !== null) {
          passing.push(packet.raw);
        }
      }
      done(null, Buffer.concat(passing));
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Keeps a part of git's report. @throws Error if the report exceeds `MAX_REPORT_BYTES`. */
  #hold(bytes: Buffer): void {
    this.#reportBytes += bytes.length;
    if (this.#reportBytes > MAX_REPORT_BYTES) throw new Error('the report of git is too long');
    this.#report.push(bytes);
  }

  override _flush(done: TransformCallback): void {
    const gitsReport = parseReport(Buffer.concat(this.#report));
    this.#answer(gitsReport).then(
      (answer) => done(null, encodeAnswer(answer, this.#hasSideBand())),
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
    );
  }
}

function encodeAnswer(answer: Answer, hasSideBand: boolean): Buffer {
  switch (answer.kind) {
    case 'none':
      return Buffer.alloc(0);
    case 'fatal':
      return hasSideBand ? Buffer.concat([sideBand(3, `${answer.message}\n`), flushPacket]) : Buffer.alloc(0);
    case 'report': {
      const report = encodeReport(answer.report);
      if (!hasSideBand) return report;
      const progress = answer.progress === '' ? Buffer.alloc(0) : sideBand(2, answer.progress);
      return Buffer.concat([progress, sideBand(1, report), flushPacket]);
    }
    default:
      throw answer satisfies never;
  }
}
