import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { execa } from 'execa';
import { DirectoryFile } from '../../src/auth/file/directory-yaml.ts';
import { removeTree } from '../../src/core/disk/remove-tree.ts';

const root = resolve(import.meta.dirname, '../..');
/** The options that `npm start` gives node. */
const FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=512'];

export interface Run {
  readonly exitCode: number;
  readonly stdout: string;
  /** Without colours; `remote: ` lines as git prints them. */
  readonly stderr: string;
}

/** One line of the server's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

/**
 * A real server in a process of its own, with its own data folder, keys, buildpacks and home folder. The first start
 * makes its user and the tool `hello`.
 */
export class TestServer implements AsyncDisposable {
  readonly folder: string;
  ssh = '';
  http = '';
  password = '';
  user = '';
  /** What the server has printed for the person at the terminal. */
  told = '';
  readonly lines: LogLine[] = [];
  #child: ChildProcess | null = null;
  readonly #environment: Record<string, string>;
  readonly #main: string;

  private constructor(folder: string, environment: Record<string, string>, main: string) {
    this.folder = folder;
    this.#environment = environment;
    this.#main = main;
  }

  /**
   * @param environment - Additional environment variables, for example TOOLFORGE_PUSH_BUILD_TIME.
   * @param main - The script that node runs, relative to the repository.
   */
  static async start(
    environment: Record<string, string> = {},
    main: string = 'src/main.ts',
  ): Promise<TestServer> {
    const folder = await mkdtemp(join(tmpdir(), 'push-'));
    await chmod(folder, 0o711);
    const home = join(folder, 'home/.ssh');
    await mkdir(home, { recursive: true });
    await execa('ssh-keygen', [
      '-q',
      '-t',
      'ed25519',
      '-N',
      '',
      '-f',
      join(home, 'id_ed25519'),
      '-C',
      'test',
    ]);
    // Node's own `cp` takes seven times as much processor time.
    for (const from of ['buildpacks', 'test/support/buildpacks'])
      await execa('cp', ['-rLT', join(root, from), join(folder, 'buildpacks')]);
    const order = await readFile(join(folder, 'buildpacks/order.toml'), 'utf8');
    const script =
      '[[order]]\n[[order.group]]\nid = "test/script"\nversion = "1.0.0"\n[[order.group]]\nid = "toolforge/procfile"\nversion = "0.1.0"\noptional = true\n\n';
    await writeFile(join(folder, 'buildpacks/order.toml'), script + order);
    const server = new TestServer(folder, { ...environment }, main);
    await server.boot();
    server.password = /Password:\s+(\S+)/.exec(server.told)?.[1] ?? '';
    server.user = /Welcome, ([^.\s]+)\./.exec(server.told)?.[1] ?? '';
    return server;
  }

  /** The environment of the server and of the local binary. */
  get environment(): Record<string, string> {
    return {
      PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
      HOME: join(this.folder, 'home'),
      MALLOC_ARENA_MAX: '1',
      ...ofThisMachine(),
      TOOLFORGE_PUSH_DATA: join(this.folder, 'data'),
      TOOLFORGE_PUSH_KEYS: join(this.folder, 'keys'),
      TOOLFORGE_PUSH_BUILDPACKS: join(this.folder, 'buildpacks'),
      TOOLFORGE_PUSH_SSH: this.ssh === '' ? '127.0.0.1:0' : this.ssh,
      TOOLFORGE_PUSH_HTTP: this.http === '' ? '127.0.0.1:0' : this.http,
      TOOLFORGE_PUSH_SETTLE_TIME: '300',
      ...this.#environment,
    };
  }

  /**
   * Starts the server and waits until it is ready. A server that is started after `kill` keeps its addresses.
   *
   * @throws Error if the server ends, or is not ready after `limitMs`.
   */
  async boot(limitMs = 60_000): Promise<void> {
    const child = spawn(process.execPath, [...FLAGS, join(root, this.#main)], {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stderr.on('data', (chunk: Buffer) => {
      this.told += chunk.toString();
    });
    const ready = Promise.withResolvers<LogLine>();
    createInterface({ input: child.stdout }).on('line', (line) => {
      const entry = JSON.parse(line) as LogLine;
      this.lines.push(entry);
      if (entry.msg === 'ready') ready.resolve(entry);
    });
    const died = once(child, 'exit').then(() => {
      throw new Error(`the server ended at once: ${this.told}`);
    });
    const { ssh, http } = await Promise.race([
      ready.promise,
      died,
      timeout(limitMs, 'the server was not ready'),
    ]).catch((error: unknown) => {
      child.kill('SIGKILL');
      throw error;
    });
    this.ssh = String(ssh);
    this.http = String(http);
  }

  /** Changes settings, from the next `boot` on. */
  change(settings: Readonly<Record<string, string>>): void {
    Object.assign(this.#environment, settings);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** The seconds of processor time that the server's main thread has used, without its other threads and programs. */
  get processorSeconds(): number {
    const [ran] = readFileSync(`/proc/${this.pid}/task/${this.pid}/schedstat`, 'utf8').split(' ');
    return Number(ran) / 1e9;
  }

  /** Sends the server a signal, by default SIGKILL, and waits until the server has ended. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGTERM');
    // A server that was killed leaves processes that its next start would end. Here is no next start.
    await run('pkill', ['-KILL', '-f', `${this.folder}/data/`]);
    await removeTree(this.folder);
  }

  /** The environment of a git client that logs in with the user's key. */
  get clientEnvironment(): Record<string, string> {
    const key = join(this.folder, 'home/.ssh/id_ed25519');
    return {
      PATH: process.env['PATH'] ?? '',
      HOME: join(this.folder, 'home'),
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_AUTHOR_NAME: 'Test',
      GIT_AUTHOR_EMAIL: 'test@example.org',
      GIT_COMMITTER_NAME: 'Test',
      GIT_COMMITTER_EMAIL: 'test@example.org',
      GIT_SSH_COMMAND: `ssh -F none -i ${key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=${join(this.folder, 'known_hosts')} -o LogLevel=ERROR`,
    };
  }

  remote(door: 'ssh' | 'http', tool: string): string {
    return door === 'ssh'
      ? `ssh://${this.user}@${this.ssh}/${tool}.git`
      : `http://${this.user}:${this.password}@${this.http}/${tool}.git`;
  }

  /** Runs `ssh USER@HOST words`. */
  async command(...words: string[]): Promise<Run> {
    const [host = '', port = ''] = this.ssh.split(':');
    const ssh = (this.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ').slice(1);
    return run('ssh', [...ssh, '-p', port, `${this.user}@${host}`, words.join(' ')], {
      env: this.clientEnvironment,
    });
  }

  /** Runs the local binary on the server's machine, as `npx toolforge-push WORDS` does. */
  async local(...words: string[]): Promise<Run> {
    return run(process.execPath, [join(root, 'src/cli/bin.ts'), ...words], { env: this.environment });
  }

  async addTool(name: string): Promise<void> {
    await new DirectoryFile(join(this.folder, 'data/directory.yaml')).addTool(name, [this.user]);
  }

  /** Asks for a path of the tool's web address. */
  async get(tool: string, path = '/'): Promise<{ status: number; body: string }> {
    const asked = request(`http://${this.http}${path}`, {
      headers: { host: `${tool}.localhost` },
      agent: false,
    }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return { status: response.statusCode ?? 0, body: await text(response) };
  }

  /** Runs git on the bare repository of a tool. */
  async inRepository(tool: string, ...args: string[]): Promise<string> {
    const repository = join(this.folder, 'data/repositories', `${tool}.git`);
    const { stdout } = await execa('git', ['-c', 'safe.directory=*', '-C', repository, ...args], {
      reject: false,
    });
    return stdout;
  }
}

/** Variables for downloads with this machine's certificate authorities, and for Node's compile cache. */
function ofThisMachine(): Record<string, string> {
  const names = [
    'SSL_CERT_FILE',
    'NODE_EXTRA_CA_CERTS',
    'PIP_CERT',
    'REQUESTS_CA_BUNDLE',
    'UV_PYTHON_DOWNLOADS_JSON_URL',
    'HTTPS_PROXY',
    'HTTP_PROXY',
    'NO_PROXY',
    'NODE_COMPILE_CACHE',
  ];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']])),
  );
}

export async function run(
  file: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Run> {
  const { exitCode, stdout, stderr } = await execa(file, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env, extendEnv: false }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    reject: false,
    stdin: 'ignore',
    maxBuffer: { stdout: 200_000_000, stderr: 200_000_000 },
  });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of the push output
  return { exitCode: exitCode ?? 255, stdout, stderr: stderr.replace(/\u001b\[[0-9;]*[mK]/g, '') };
}

export async function timeout(milliseconds: number, what: string): Promise<never> {
  await new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what} within ${milliseconds} ms`)), milliseconds).unref();
  });
  throw new Error('unreachable');
}

/** Calls `check` until it returns a value other than null and false. Throws if this takes longer than `limitMs`. */
export async function until<T>(
  check: () => Promise<T | null | false>,
  what: string,
  limitMs = 20_000,
): Promise<T> {
  const end = performance.now() + limitMs;
  while (performance.now() < end) {
    const value = await check();
    if (value !== null && value !== false) return value;
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  throw new Error(`waited ${limitMs} ms in vain for: ${what}`);
}
