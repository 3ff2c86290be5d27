import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { until } from '../../support/server.ts';

/** The user nobody of Debian, because PostgreSQL refuses to run as root. */
const NOBODY = 65_534;
const OWN = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'];

/**
 * PostgreSQL, MariaDB and Redis in a network namespace with an address of its own, as in a container on this machine.
 * Their administrators have no passwords, and can only log in through Unix sockets. Needs root.
 */
export class DatabaseHost implements AsyncDisposable {
  readonly address = '10.79.0.2';
  readonly #name = `tfd${process.pid}`;
  readonly #cleanup = new AsyncDisposableStack();
  #folder = '';

  static async start(): Promise<DatabaseHost> {
    const host = new DatabaseHost();
    try {
      await host.#make();
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
    return host;
  }

  async #make(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'toolforge-push-databases-'));
    this.#cleanup.defer(() => rm(this.#folder, { recursive: true, force: true, maxRetries: 5 }));
    await chmod(this.#folder, 0o755);
    await execa('ip', ['netns', 'add', this.#name]);
    this.#cleanup.defer(async () => void (await execa('ip', ['netns', 'del', this.#name])));
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', this.#name];
    await execa('ip', ['link', 'add', this.#name, ...peer]);
    await execa('ip', ['addr', 'add', '10.79.0.1/24', 'dev', this.#name]);
    await execa('ip', ['link', 'set', this.#name, 'up']);
    const lines = ['link set lo up', 'link set eth0 up', `addr add ${this.address}/24 dev eth0`];
    await execa('ip', ['-n', this.#name, '-batch', '-'], { input: lines.join('\n') });
    await Promise.all([this.#startPostgres(), this.#startMariaDb(), this.#startRedis()]);
  }

  async postgres(sql: string): Promise<void> {
    const options = ['--no-psqlrc', '--set=ON_ERROR_STOP=1', '--quiet', '--username=postgres', 'postgres'];
    await execa('psql', ['--host', join(this.#folder, 'postgres'), ...options], { input: sql });
  }

  async mariadb(sql: string): Promise<void> {
    const socket = `--socket=${join(this.#folder, 'mariadb/socket')}`;
    await execa('mariadb', ['--no-defaults', '--user=root', socket], { input: sql });
  }

  async redis(commands: string): Promise<void> {
    const socket = join(this.#folder, 'redis/socket');
    const { stdout } = await execa('redis-cli', ['-s', socket], { input: commands });
    if (!/^(OK\s*)+$/.test(stdout)) throw new Error(`redis: ${stdout}`);
  }

  async #startPostgres(): Promise<void> {
    const folder = await this.#folderOf('postgres');
    const { stdout: bin } = await execa('pg_config', ['--bindir']);
    const data = join(folder, 'data');
    const [initdb = '', ...user] = OWN;
    const options = ['--no-sync', '--auth-local=trust', '--auth-host=scram-sha-256', '--username=postgres'];
    await execa(initdb, [...user, join(bin, 'initdb'), ...options, '--pgdata', data]);
    await execa(initdb, [...user, 'sh', '-c', `echo 'host all all all scram-sha-256' >>${data}/pg_hba.conf`]);
    const settings = ['listen_addresses=*', `unix_socket_directories=${folder}`, 'fsync=off'];
    this.#run([join(bin, 'postgres'), '-D', data, ...settings.flatMap((setting) => ['-c', setting])]);
    await this.#answers(() => this.postgres('SELECT 1'), 'PostgreSQL');
  }

  async #startMariaDb(): Promise<void> {
    const folder = await this.#folderOf('mariadb');
    const data = join(folder, 'data');
    const [setpriv = '', ...user] = OWN;
    const install = ['--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db'];
    await execa(setpriv, [...user, 'mariadb-install-db', ...install, `--datadir=${data}`]);
    const places = [`--datadir=${data}`, `--socket=${join(folder, 'socket')}`];
    this.#run(['/usr/sbin/mariadbd', '--no-defaults', ...places, '--bind-address=*', '--skip-name-resolve']);
    await this.#answers(() => this.mariadb('SELECT 1'), 'MariaDB');
  }

  async #startRedis(): Promise<void> {
    const folder = await this.#folderOf('redis');
    const places = ['--dir', folder, '--unixsocket', join(folder, 'socket')];
    const open = ['--bind', this.address, '--protected-mode', 'no', '--save', ''];
    this.#run(['redis-server', ...places, ...open]);
    await this.#answers(() => this.redis('CONFIG SET maxmemory 64mb'), 'Redis');
  }

  async #folderOf(name: string): Promise<string> {
    const folder = join(this.#folder, name);
    await mkdir(folder);
    await chown(folder, NOBODY, NOBODY);
    return folder;
  }

  /** Runs a server as the user nobody in the network namespace, until the host is disposed of. */
  #run(argv: readonly string[]): void {
    const server = execa('nsenter', [`--net=/run/netns/${this.#name}`, '--', ...OWN, ...argv], {
      reject: false,
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'ignore',
    });
    this.#cleanup.defer(async () => {
      server.kill('SIGKILL');
      await server;
    });
  }

  async #answers(ask: () => Promise<void>, name: string): Promise<void> {
    const asked = () =>
      ask().then(
        () => true,
        () => false,
      );
    await until(asked, `${name} answers`, 30_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}
