import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { makeBareRepository } from './bare-repository.ts';
import { freePort, untilListening } from './free-port.ts';
import { PeerProcess } from './peer-process.ts';

/**
 * OpenSSH's own server with git's own receive-pack and upload-pack: what people use who set up a git server by hand.
 * Without PAM, and with an empty home folder, so that no login script of this machine slows it down.
 */
export class OpenSsh implements AsyncDisposable {
  readonly #folder: string;
  readonly #port: number;
  readonly #process: PeerProcess;

  private constructor(folder: string, port: number, process: PeerProcess) {
    this.#folder = folder;
    this.#port = port;
    this.#process = process;
  }

  /**
   * @param publicKey - The file of the key that may log in, as whoever runs this.
   * @param startups - Connections that have not logged in, at once; Debian's default drops some from 10 on.
   */
  static async start(publicKey: string, startups = 100): Promise<OpenSsh> {
    const folder = await mkdtemp(join(tmpdir(), 'bench-sshd-'));
    await chmod(folder, 0o700);
    await mkdir(join(folder, 'home'));
    await copyFile(publicKey, join(folder, 'authorized_keys'));
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'host_key')]);
    const port = await freePort();
    const settings = [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${join(folder, 'host_key')}`,
      `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
      `PidFile ${join(folder, 'sshd.pid')}`,
      `SetEnv HOME=${join(folder, 'home')}`,
      `MaxStartups ${startups}:30:${startups}`,
      'AuthenticationMethods publickey',
      'PermitRootLogin prohibit-password',
      'StrictModes no',
      'UsePAM no',
      'AcceptEnv GIT_PROTOCOL',
      'LogLevel ERROR',
    ];
    await writeFile(join(folder, 'sshd_config'), settings.map((line) => `${line}\n`).join(''));
    // sshd starts itself again for each connection and wants its full path.
    const args = ['-D', '-e', '-f', join(folder, 'sshd_config')];
    const process = new PeerProcess('/usr/sbin/sshd', args, { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' });
    const server = new OpenSsh(folder, port, process);
    await untilListening(port, 'sshd').catch(async (cause: unknown) => {
      await server[Symbol.asyncDispose]();
      throw new Error(`sshd did not start (bench/setup.sh brings what it needs): ${process.output}`, {
        cause,
      });
    });
    return server;
  }

  /** Makes a repository. @returns its address. */
  async repository(name: string): Promise<string> {
    const folder = await makeBareRepository(this.#folder, name);
    return `ssh://${userInfo().username}@127.0.0.1:${this.#port}${folder}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
