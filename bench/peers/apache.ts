import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { makeBareRepository } from './bare-repository.ts';
import { PeerServer } from './peer-server.ts';

const MODULES = '/usr/lib/apache2/modules';
const BACKEND = '/usr/lib/git-core/git-http-backend';

/** git http-backend behind Apache with its event MPM, as git-http-backend(1) sets it up, without any login. */
export class Apache implements AsyncDisposable {
  readonly #server: PeerServer;

  private constructor(server: PeerServer) {
    this.#server = server;
  }

  static async start(): Promise<Apache> {
    const server = await PeerServer.start({
      name: 'Apache',
      mode: 0o755,
      prepare: async (folder, port) => {
        const file = join(folder, 'apache.conf');
        await writeFile(file, settings(folder, port));
        return ['/usr/sbin/apache2', '-f', file, '-DFOREGROUND'];
      },
    });
    return new Apache(server);
  }

  /** Makes a repository that everyone may push to. @returns its address. */
  async repository(name: string): Promise<string> {
    const folder = await makeBareRepository(this.#server.folder, name);
    // git refuses repositories of other users, and an Apache that root has started serves as www-data.
    if (isRoot()) await execa('chown', ['-R', 'www-data:www-data', folder]);
    return `http://127.0.0.1:${this.#server.port}/git/${name}.git`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

function settings(folder: string, port: number): string {
  const modules = ['mpm_event', 'authz_core', 'cgid', 'alias', 'env', 'setenvif'];
  const lines = [
    `ServerRoot ${folder}`,
    'ServerName localhost',
    `Listen 127.0.0.1:${port}`,
    `PidFile ${join(folder, 'apache.pid')}`,
    `DefaultRuntimeDir ${folder}`,
    `ErrorLog ${join(folder, 'error.log')}`,
    'LogLevel error',
    ...modules.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    `ScriptSock ${join(folder, 'cgid.sock')}`,
    ...(isRoot() ? ['User www-data', 'Group www-data'] : []),
    `SetEnv GIT_PROJECT_ROOT ${folder}`,
    'SetEnv GIT_HTTP_EXPORT_ALL',
    'SetEnvIf Git-Protocol ".*" GIT_PROTOCOL=$0',
    `ScriptAlias /git/ ${BACKEND}/`,
    '<Directory /usr/lib/git-core>',
    'Require all granted',
    '</Directory>',
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
