import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform, type TransformCallback } from 'node:stream';
import { execa } from 'execa';
import { DeployError } from '../../../src/core/errors.ts';
import type { ToolName } from '../../../src/core/names.ts';
import type { PackServices, PushSession, ReceiveRequest } from '../../../src/git/pack-services.ts';

/** Serves real bare repositories. Pushes are passed to git unchanged, and counted for the tests. */
export class HttpPackServices implements PackServices {
  /** How many bytes of a push, after decompression, are allowed. */
  maxBytes = 512 * 1024 * 1024;
  /** The end of the answer to a push waits until this promise resolves. */
  verdict: Promise<unknown> = Promise.resolve();
  /** If not null, each push is refused with this reason before git sees it. */
  refusal: string | null = null;
  readonly sessions: PushSession[] = [];
  readonly requests: ReceiveRequest[] = [];
  closed = 0;
  readonly #made = new Map<string, Promise<void>>();
  readonly #root: string;
  readonly #environment: Record<string, string>;

  constructor(root: string) {
    this.#root = root;
    this.#environment = {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      HOME: root,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      GIT_CONFIG_KEY_1: 'receive.advertisePushOptions',
      GIT_CONFIG_VALUE_1: 'true',
    };
  }

  folder(tool: string): string {
    return join(this.#root, `${tool}.git`);
  }

  async receive(request: ReceiveRequest): Promise<PushSession> {
    this.requests.push(request);
    const folder = await this.#repository(request.tool);
    const incoming = this.refusal === null ? limited(this.maxBytes) : refusing();
    const session: PushSession = {
      id: `push-${this.sessions.length}`,
      folder,
      environment: this.#environment,
      incoming,
      outgoing: this.refusal === null ? held(() => this.verdict) : refused(this.refusal),
      whyClosed: this.refusal,
      notice: () => null,
      exitStatus: () => (this.refusal === null ? null : 1),
      close: () => {
        this.closed += 1;
      },
    };
    this.sessions.push(session);
    return session;
  }

  async upload(tool: ToolName, protocol: string | null) {
    const more: Record<string, string> = protocol === null ? {} : { GIT_PROTOCOL: protocol };
    const folder = await this.#repository(tool);
    return { folder, environment: { ...this.#environment, ...more }, lost: null, close: () => {} };
  }

  async advertise(tool: ToolName) {
    return { folder: await this.#repository(tool), environment: this.#environment };
  }

  /** Makes the repository once, however many requests come at the same time. */
  async #repository(tool: string): Promise<string> {
    const folder = this.folder(tool);
    const made = this.#made.get(tool) ?? this.#make(folder);
    this.#made.set(tool, made);
    await made;
    return folder;
  }

  async #make(folder: string): Promise<void> {
    const isThere = await access(folder).then(
      () => true,
      () => false,
    );
    if (!isThere) await execa('git', ['init', '--quiet', '--bare', '--initial-branch=main', folder]);
  }
}

function limited(maxBytes: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      bytes += chunk.length;
      if (bytes <= maxBytes) done(null, chunk);
      else done(new DeployError('PACK_TOO_LARGE', 'the push is too large', 'Push less.'));
    },
  });
}

function held(verdict: () => Promise<unknown>): Transform {
  return new Transform({
    transform: (chunk: Buffer, _encoding, done: TransformCallback) => done(null, chunk),
    flush: (done: TransformCallback) => void verdict().then(() => done()),
  });
}

/** Gives git an empty list at once and reads the rest, like an early refusal of src/git/push/incoming.ts. */
function refusing(): Transform {
  let isFirst = true;
  return new Transform({
    transform(_chunk: Buffer, _encoding, done: TransformCallback) {
      if (isFirst) {
        this.push('0000');
        this.push(null);
      }
      isFirst = false;
      done();
    },
  });
}

/** Reports a refusal when git ends. The client can still be sending then, so the door must hold the answer back. */
function refused(reason: string): Transform {
  const packet = (payload: string) => (payload.length + 4).toString(16).padStart(4, '0') + payload;
  const report = `${packet('unpack ok\n')}${packet(`ng refs/heads/main ${reason}\n`)}0000`;
  return new Transform({
    transform: (_chunk: Buffer, _encoding, done: TransformCallback) => done(),
    flush(done: TransformCallback) {
      this.push(`${packet(`\u0001${report}`)}0000`);
      done();
    },
  });
}
