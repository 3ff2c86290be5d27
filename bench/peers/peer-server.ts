import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../test/support/http/free-port.ts';
import { PeerProcess } from './peer-process.ts';
import { untilListening } from './until-listening.ts';

export interface PeerWanted {
  /** The server's name in errors, such as `sshd`. */
  readonly name: string;
  /** The mode of the server's folder. */
  readonly mode: number;
  /** Writes its settings into the folder. @returns the program and its arguments. */
  readonly prepare: (folder: string, port: number) => Promise<readonly [string, ...string[]]>;
}

/** A git server of another make, in a folder of its own and on a free port of this machine. */
export class PeerServer implements AsyncDisposable {
  readonly folder: string;
  readonly port: number;
  readonly #process: PeerProcess;

  private constructor(folder: string, port: number, process: PeerProcess) {
    this.folder = folder;
    this.port = port;
    this.#process = process;
  }

  /** @throws Error with the server's output if the server does not listen. */
  static async start({ name, mode, prepare }: PeerWanted): Promise<PeerServer> {
    const folder = await mkdtemp(join(tmpdir(), `bench-${name.toLowerCase()}-`));
    await chmod(folder, mode);
    const port = await freePort();
    const [program, ...args] = await prepare(folder, port);
    const process = new PeerProcess(program, args, { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' });
    const server = new PeerServer(folder, port, process);
    await untilListening(port, name).catch(async (cause: unknown) => {
      await server[Symbol.asyncDispose]();
      const hint = `${name} did not start (bench/setup.sh brings what it needs)`;
      throw new Error(`${hint}: ${process.output}`, { cause });
    });
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
