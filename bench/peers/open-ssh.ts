import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { makeBareRepository } from './bare-repository.ts';
import { PeerServer } from './peer-server.ts';

/**
 * OpenSSH's own server with git's own receive-pack and upload-pack, as people set up a git server by hand. It runs
 * without PAM and with an empty home folder, so that no login script of this machine slows it down.
 */
export class OpenSsh implements AsyncDisposable {
  readonly #server: PeerServer;

  private constructor(server: PeerServer) {
    this.#server = server;
  }

  /**
   * @param publicKey - The file of the key that may log in, as the user who runs the measurement.
   * @param startups - How many connections may wait for their login. With Debian's default, sshd drops some from 10 on.
   */
  static async start(publicKey: string, startups = 100): Promise<OpenSsh> {
    const server = await PeerServer.start({
      name: 'sshd',
      mode: 0o700,
      prepare: async (folder, port) => {
        await mkdir(join(folder, 'home'));
        await copyFile(publicKey, join(folder, 'authorized_keys'));
        await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'host_key')]);
        const file = join(folder, 'sshd_config');
        await writeFile(file, settings(folder, port, startups));
        // sshd starts itself again for each connection and wants its full path.
        return ['/usr/sbin/sshd', '-D', '-e', '-f', file];
      },
    });
    return new OpenSsh(server);
  }

  /** Makes a repository. @returns its address. */
  async repository(name: string): Promise<string> {
    const folder = await makeBareRepository(this.#server.folder, name);
    return `ssh://${userInfo().username}@127.0.0.1:${this.#server.port}${folder}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

function settings(folder: string, port: number, startups: number): string {
  const lines = [
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
  return lines.map((line) => `${line}\n`).join('');
}
