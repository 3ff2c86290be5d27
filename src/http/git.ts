import type { ChildProcess } from 'node:child_process';
import { access } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable, Transform, type TransformCallback, type Writable } from 'node:stream';
import { Git, type InfoData, Service } from 'node-git-server';
import { withEnvironment, withEnvironmentInNextTick } from './with-environment.ts';

export type GitService = 'upload-pack' | 'receive-pack';

/** As PackServices gives it: an absolute folder and the whole environment of git. */
export interface Repository {
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
}

export interface GitExit {
  /** Null: ended by a signal, or never started. */
  readonly code: number | null;
  /** The end of what git wrote to standard error. */
  readonly complaint: string;
}

/** A git that serves one request. */
export interface GitRun {
  /** The decoded body goes in here; when git leaves early, the rest is read and forgotten. */
  readonly input: Writable;
  /** Never rejects. */
  readonly exited: Promise<GitExit>;
  kill(): void;
}

const COMPLAINT_CHARACTERS = 2000;

/**
 * One repository served for one request, by node-git-server with its weak places walled off: it never sees
 * the client's request or response, only stand-ins, so that it decides nothing about names, encodings,
 * authorisation or status; and its children get `environment` and nothing of this process.
 */
export class ServedRepository extends Git {
  readonly #repository: Repository;

  private constructor(repository: Repository) {
    super(() => repository.folder, { autoCreate: false });
    this.#repository = repository;
  }

  /** @throws Error where git might take another folder for this one. */
  static async open({ folder, environment }: Repository): Promise<ServedRepository> {
    // enter_repo() in git's path.c tries these before or after the folder itself.
    for (const odd of ['/.git', '.git/.git', '.git']) {
      if (await isThere(folder + odd)) throw new Error(`git could take ${folder}${odd} for ${folder}`);
    }
    return new ServedRepository({ folder, environment });
  }

  /** git itself finds out whether it can serve the folder; the library would ask and then answer 404 by itself. */
  override exists(): boolean {
    return true;
  }

  /** The answer to GET info/refs. Fails, before its first byte, where git had nothing to say. */
  advertise(service: GitService): Readable {
    const answer = new Advertisement();
    const request = new FirstByteAlone();
    const url = `/repository.git/info/refs?service=git-${service}`;
    this.on('error', (error: Error) => answer.destroy(error));
    this.on('info', (info: InfoData) => {
      info.on('error', (error: Error) => answer.destroy(error));
      info.accept();
    });
    // The library takes only real requests by type, and of a stand-in uses only what a stream has.
    const asked = Object.assign(request, { method: 'GET', url, headers: {} }) as unknown as IncomingMessage;
    withEnvironment(this.#repository.environment, () =>
      super.handle(asked, answer as unknown as ServerResponse),
    );
    return answer;
  }

  /** Runs the service on what is written to `input`; its standard output goes to `output`, which it ends. */
  run(service: GitService, output: Writable): GitRun {
    const input = new FirstByteAlone();
    const { folder, environment } = this.#repository;
    const asked = Object.assign(input, {
      method: 'POST',
      url: '/',
      headers: {},
    }) as unknown as IncomingMessage;
    const conversation = new Service(
      { repo: 'repository.git', service, cwd: folder },
      asked,
      output as unknown as ServerResponse,
    );
    // It repeats every error of the two streams, whose owners know of them.
    conversation.on('error', () => {});
    let child: ChildProcess | null = null;
    let isKilled = false;
    const exited = new Promise<GitExit>((resolve) => {
      conversation.on('service', (started: ChildProcess) => {
        child = started;
        // Where no descriptors are left it has no pipes, and the library would fall over that in a tick of its own.
        started.stdin ??= new PassThrough();
        started.stdout ??= new PassThrough();
        if (isKilled) started.kill();
        watch(started, input, output, resolve);
      });
    });
    withEnvironmentInNextTick(environment, () => conversation.accept());
    const kill = () => {
      isKilled = true;
      child?.kill();
    };
    return { input, exited, kill };
  }
}

function watch(
  child: ChildProcess,
  input: FirstByteAlone,
  output: Writable,
  resolve: (exit: GitExit) => void,
): void {
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-COMPLAINT_CHARACTERS);
  });
  child.once('error', (error) => {
    output.destroy(error);
    input.unpipe();
    input.resume();
    resolve({ code: null, complaint: error.message });
  });
  child.once('close', (code) => resolve({ code, complaint }));
  const { stdin } = child;
  // git may go before it has read everything (EPIPE). The client goes on sending and must be read.
  stdin?.on('error', () => {});
  stdin?.once('close', () => {
    input.unpipe();
    input.resume();
  });
  // A body that breaks off is an early end for git: it cleans up after itself.
  const endEarly = () => {
    if (!input.readableEnded) stdin?.destroy();
  };
  if (input.destroyed) endEarly();
  else input.once('close', endEarly);
}

/**
 * Splits the first byte from what follows. Service runs a regular expression of quadratic time over the
 * first chunk, which a client fills as it likes; one byte is harmless.
 */
class FirstByteAlone extends Transform {
  #isFirst = true;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (this.#isFirst && chunk.length > 0) {
      this.#isFirst = false;
      this.push(chunk.subarray(0, 1));
      done(null, chunk.subarray(1));
      return;
    }
    done(null, chunk);
  }
}

/** Stands in for the response: keeps the library's preamble back until git itself has spoken. */
class Advertisement extends Transform {
  #preamble: Buffer[] | null = [];
  #isGit = false;

  constructor() {
    super();
    this.once('pipe', (output: Readable) => {
      this.#isGit = true;
      // Left alone, git would wait for ever on a full pipe when the client has gone.
      this.once('close', () => output.destroy());
    });
  }

  setHeader(): this {
    return this;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (!this.#isGit) {
      this.#preamble?.push(chunk);
      done();
      return;
    }
    if (this.#preamble !== null) this.push(Buffer.concat(this.#preamble));
    this.#preamble = null;
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    done(this.#preamble === null ? null : new Error('git advertised nothing'));
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
