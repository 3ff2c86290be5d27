import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable, Transform, type TransformCallback, type Writable } from 'node:stream';
import { Git, type InfoData, Service } from 'node-git-server';
import { endFirst } from '../../core/end-first.ts';
import { OWN_GROUP } from '../../git/git-environment.ts';
import { withEnvironment, withEnvironmentInNextTick } from './process-environment.ts';

export type GitService = 'upload-pack' | 'receive-pack';

/** A repository as PackServices returns it: an absolute folder and the whole environment of git. */
export interface Repository {
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
}

export interface GitExit {
  /** The exit status of git. Null if a signal killed git, or if git never started. */
  readonly code: number | null;
  /** The end of what git wrote to standard error. */
  readonly complaint: string;
}

/** A running git that serves one request. */
export interface GitRun {
  /** Takes the decoded body of the request. If git ends early, discards the rest of the body. */
  readonly input: Writable;
  /** Resolves when git has ended. Never rejects. */
  readonly exited: Promise<GitExit>;
  /** Ends git and the programs that it has started. Does nothing if git has ended. */
  kill(): void;
}

const COMPLAINT_CHARACTERS = 2000;

/**
 * Serves one repository for one request, by node-git-server. The library gets stand-ins for request and response, so
 * that it decides nothing about names, encodings, authorization or status. The git that it starts gets only
 * `environment`.
 */
export class ServedRepository extends Git {
  readonly #repository: Repository;

  private constructor(repository: Repository) {
    super(() => repository.folder, { autoCreate: false });
    this.#repository = repository;
  }

  /** Opens a repository. @throws Error if git might use another folder instead of this one. */
  static open({ folder, environment }: Repository): ServedRepository {
    // Fail if the folder exists with one of these endings too, because enter_repo() in git's path.c tries each of them.
    for (const odd of ['/.git', '.git/.git', '.git']) {
      if (existsSync(folder + odd)) throw new Error(`git could take ${folder}${odd} for ${folder}`);
    }
    return new ServedRepository({ folder, environment });
  }

  /** Always true, so that node-git-server does not answer 404: git finds out whether the folder exists. */
  override exists(): boolean {
    return true;
  }

  /** The answer to GET info/refs. Fails before its first byte if git printed nothing. */
  advertise(service: GitService): Readable {
    const answer = new Advertisement();
    const request = new FirstByteAlone();
    const url = `/repository.git/info/refs?service=git-${service}`;
    this.on('error', (error: Error) => answer.destroy(error));
    this.on('info', (info: InfoData) => {
      info.on('error', (error: Error) => answer.destroy(error));
      info.accept();
    });
    // Make a stand-in for the request: node-git-server's type asks for a real request, but a stream with these three
    // properties is enough.
    const asked = Object.assign(request, { method: 'GET', url, headers: {} }) as unknown as IncomingMessage;
    withEnvironment(this.#repository.environment, () =>
      super.handle(asked, answer as unknown as ServerResponse),
    );
    return answer;
  }

  /** Starts git's service. git reads the returned `input`, and writes to `output`, which ends when git ends. */
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
    // Ignore the errors of `conversation`, which only repeats those of `asked` and `output`. The code that uses these
    // two streams handles their errors.
    conversation.on('error', () => {});
    let child: ChildProcess | null = null;
    let isKilled = false;
    const exited = new Promise<GitExit>((resolve) => {
      conversation.on('service', (started: ChildProcess) => {
        child = started;
        endFirst(started.pid);
        // If no file descriptors are left, the child has no pipes. Then give it empty streams, because node-git-server
        // would throw later.
        started.stdin ??= new PassThrough();
        started.stdout ??= new PassThrough();
        if (isKilled) endGroup(started);
        started.once('exit', () => {
          child = null;
          // If git ended early, such as at the limit of its processor time, a program that packs objects may still run.
          if (service === 'upload-pack') endGroup(started);
        });
        watch(started, input, output, resolve);
      });
    });
    withEnvironmentInNextTick({ ...environment, ...OWN_GROUP }, () => conversation.accept());
    const kill = () => {
      isKilled = true;
      if (child !== null) endGroup(child);
    };
    return { input, exited, kill };
  }
}

/**
 * Ends git and the programs that it has started. For a clone, git starts a program that packs objects. If only git
 * ended, this program would continue for minutes, and count towards no limit.
 */
function endGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
  } catch {
    // There is no such group. Either all its processes have ended, or git has only just started and has no group yet.
    child.kill();
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
  // Ignore EPIPE: git may end before it has read everything, and the client's body must still be read.
  stdin?.on('error', () => {});
  stdin?.once('close', () => {
    input.unpipe();
    input.resume();
  });
  // If the body is cut short, close git's input, so that git cleans up.
  const endEarly = () => {
    if (!input.readableEnded) stdin?.destroy();
  };
  if (input.destroyed) endEarly();
  else input.once('close', endEarly);
}

/**
 * Makes the first byte a chunk of its own. node-git-server's `Service` runs a regular expression over the first chunk,
 * whose content the client chooses. The time that the expression takes grows with the square of the chunk's length.
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

/**
 * Stands in for the HTTP response. node-git-server writes the beginning of the answer before it starts git. This stream
 * holds the beginning back until git has printed something.
 */
class Advertisement extends Transform {
  #preamble: Buffer[] | null = [];
  #isGit = false;

  constructor() {
    super();
    this.once('pipe', (output: Readable) => {
      this.#isGit = true;
      // Destroy the output when the client has disconnected. Otherwise git would wait for ever on a full pipe.
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
