import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Transform, type TransformCallback } from 'node:stream';
import type { ToolName } from '../../../src/core/names.ts';
import type {
  FetchSession,
  PackServices,
  PushSession,
  ReceiveRequest,
} from '../../../src/git/pack-services.ts';

const environment = { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1' };

/** Real git on bare repositories in a folder, passed through unchanged. Nothing is built. */
export class FakePackServices implements PackServices {
  readonly #folder: string;
  readonly requests: ReceiveRequest[] = [];
  readonly protocols: (string | null)[] = [];
  /** If not null, the next pushes print this text at their end. */
  notice: string | null = null;
  /** If not null, the next pushes are refused with this reason right after their commands, and not stored. */
  refusal: string | null = null;
  /** If not null, each push and each fetch fails with this error. */
  error: Error | null = null;
  opened = 0;
  closed = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  repository(tool: string): string {
    const path = join(this.#folder, `${tool}.git`);
    if (!existsSync(path)) execFileSync('git', ['init', '-q', '--bare', '-b', 'main', path]);
    return path;
  }

  async receive(request: ReceiveRequest): Promise<PushSession> {
    if (this.error !== null) throw this.error;
    this.requests.push(request);
    this.opened += 1;
    const { notice, refusal } = this;
    return {
      id: `push-${this.requests.length}`,
      folder: this.repository(request.tool),
      environment,
      incoming: refusal === null ? new PassThrough() : new Swallow(),
      outgoing: refusal === null ? new PassThrough() : new Refusal(refusal),
      whyClosed: this.refusal,
      notice: () => notice,
      exitStatus: () => (refusal === null ? null : 1),
      close: () => {
        this.closed += 1;
      },
    };
  }

  async upload(tool: ToolName, protocol: string | null): Promise<FetchSession> {
    if (this.error !== null) throw this.error;
    this.protocols.push(protocol);
    const version = protocol === null ? {} : { GIT_PROTOCOL: protocol };
    return {
      folder: this.repository(tool),
      environment: { ...environment, ...version },
      lost: null,
      close: () => {},
    };
  }

  async advertise(tool: ToolName): Promise<{ folder: string; environment: Record<string, string> }> {
    return { folder: this.repository(tool), environment: { ...environment } };
  }
}

/** Gives git no commands, and discards what the client sends. */
class Swallow extends Transform {
  #isOver = false;

  override _transform(_chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (!this.#isOver) this.push('0000');
    this.#isOver = true;
    done();
  }
}

/** Passes on what git prints, and then adds a report that refuses the push. */
class Refusal extends Transform {
  readonly #reason: string;

  constructor(reason: string) {
    super();
    this.#reason = reason;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    const report = `${packet('unpack ok\n')}${packet(`ng refs/heads/main ${this.#reason}\n`)}0000`;
    done(null, `${packet(`\u0001${report}`)}0000`);
  }
}

function packet(text: string): string {
  return `${(Buffer.byteLength(text) + 4).toString(16).padStart(4, '0')}${text}`;
}
