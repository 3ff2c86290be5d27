import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { makeBareRepository } from './bare-repository.ts';
import { freePort, untilListening } from './free-port.ts';
import { PeerProcess } from './peer-process.ts';

const MODULES = '/usr/lib/apache2/modules';
const BACKEND = '/usr/lib/git-core/git-http-backend';

/** git http-backend behind Apache with its event MPM, as git-http-backend(1) sets it up, without any login. */
export class Apache implements AsyncDisposable {
  readonly #folder: string;
  readonly #port: number;
  readonly #process: PeerProcess;

  private constructor(folder: string, port: number, process: PeerProcess) {
    this.#folder = folder;
    this.#port = port;
    this.#process = process;
  }

  static async start(): Promise<Apache> {
    const folder = await mkdtemp(join(tmpdir(), 'bench-apache-'));
    await chmod(folder, 0o755);
    const port = await freePort();
    await writeFile(join(folder, 'apache.conf'), settings(folder, port));
    const args = ['-f', join(folder, 'apache.conf'), '-DFOREGROUND'];
    const process = new PeerProcess('/usr/sbin/apache2', args, { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' });
    const server = new Apache(folder, port, process);
    await untilListening(port, 'Apache').catch(async (cause: unknown) => {
      await server[Symbol.asyncDispose]();
      throw new Error(`Apache did not start (bench/setup.sh brings what it needs): ${process.output}`, {
        cause,
      });
    });
    return server;
  }

  /** Makes a repository that everyone may push to. @returns its address. */
  async repository(name: string): Promise<string> {
    const folder = await makeBareRepository(this.#folder, name);
    // git refuses the repositories of others, and as root Apache serves as www-data.
    if (isRoot()) await execa('chown', ['-R', 'www-data:www-data', folder]);
    return `http://127.0.0.1:${this.#port}/git/${name}.git`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
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
