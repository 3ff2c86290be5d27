import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { environmentName, readConfig } from './config.ts';
import { createLog } from './core/log/log.ts';
import { httpRemote, sshRemote } from './core/network/addresses.ts';
import { type RunningServer, startServer } from './server.ts';

const USER = 'alice';
const TOOL = 'hello';
const PAGE_MS = 10_000;
/**
 * The settings that the demo takes from the environment. It ignores all other settings, because they may be for a real
 * server.
 */
const TAKEN = ['sandbox', 'build_environment', 'buildpacks'].map(environmentName);

const NO_PROXY = { no_proxy: '127.0.0.1,localhost', NO_PROXY: '127.0.0.1,localhost' };

function serverSource(greeting: string): string {
  return `import http.server
import os


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"${greeting}\\n")


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
`;
}

/** Shows two pushes that go live, over SSH and over HTTP, and one that is rejected. Needs no input. */
class Demo implements AsyncDisposable {
  readonly #folder: string;
  readonly #server: RunningServer;
  readonly #work: string;
  readonly #password: string;

  private constructor(folder: string, server: RunningServer, password: string) {
    this.#folder = folder;
    this.#server = server;
    this.#work = join(folder, 'work');
    this.#password = password;
  }

  static async start(): Promise<Demo> {
    const folder = await mkdtemp(join(tmpdir(), 'toolforge-push-demo-'));
    await chmod(folder, 0o711);
    const ssh = join(folder, 'home/.ssh');
    await mkdir(ssh, { recursive: true });
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'demo', '-f', join(ssh, 'id_ed25519')]);
    const config = readConfig({
      ...Object.fromEntries(
        Object.entries(process.env).filter(
          ([name]) => !name.startsWith('TOOLFORGE_PUSH_') || TAKEN.includes(name),
        ),
      ),
      TOOLFORGE_PUSH_DATA: join(folder, 'data'),
      TOOLFORGE_PUSH_KEYS: join(folder, 'keys'),
      TOOLFORGE_PUSH_SSH: '127.0.0.1:0',
      TOOLFORGE_PUSH_HTTP: '127.0.0.1:0',
      TOOLFORGE_PUSH_LOG_LEVEL: 'error',
    });
    let told = '';
    const server = await startServer({
      config,
      log: createLog(config.log_level),
      owner: { userName: USER, homeFolder: join(folder, 'home') },
      path: process.env['PATH'] ?? '/usr/bin:/bin',
      tell: (text) => {
        told += text;
        say(text);
      },
    });
    return new Demo(folder, server, /Password:\s+(\S+)/.exec(told)?.[1] ?? '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async play(): Promise<boolean> {
    const { addresses } = this.#server;
    await mkdir(this.#work);
    await this.#git('init', '--quiet', '--initial-branch=main');
    await this.#run('git', 'remote', 'add', 'toolforge', sshRemote(addresses, USER, TOOL));

    say('\n# A small Python tool, pushed over SSH\n');
    await this.#commit('Say hello', serverSource('Hello from Toolforge'));
    const overSsh = await this.#run('git', 'push', 'toolforge', 'main');
    await this.#showPage();

    say('\n# A change, pushed over HTTP\n');
    const withPassword = httpRemote(addresses, USER, TOOL).replace(`${USER}@`, `${USER}:${this.#password}@`);
    await this.#git('remote', 'set-url', 'toolforge', withPassword);
    await this.#commit('Say more', serverSource('Hello again, with less typing'));
    const overHttp = await this.#run('git', 'push', 'toolforge', 'main');
    await this.#showPage();

    say('\n# A mistake\n');
    await this.#commit('Break it', 'import nothing_like_this\n');
    const broken = await this.#run('git', 'push', 'toolforge', 'main');
    await this.#showPage();
    const isAsPromised = overSsh === 0 && overHttp === 0 && broken !== 0;
    say(
      isAsPromised
        ? '\n# Two pushes live, one rejected; the live release stayed live. To deploy your own tool: npm start\n'
        : '\n# The demo failed: a push did not end as expected.\n',
    );
    return isAsPromised;
  }

  async #commit(message: string, source: string): Promise<void> {
    await writeFile(join(this.#work, 'server.py'), source);
    await writeFile(join(this.#work, 'Procfile'), 'web: python3 server.py\n');
    await writeFile(join(this.#work, 'LICENSE'), 'CC0-1.0\n');
    await this.#git('add', '--all');
    await this.#git('commit', '--quiet', '--message', message);
  }

  async #git(...args: string[]): Promise<void> {
    await execa('git', args, { cwd: this.#work, env: this.#environment(), stdin: 'ignore' });
  }

  /** Prints a command, runs it, and prints its output as it comes. @returns the exit status. */
  async #run(file: string, ...args: string[]): Promise<number> {
    say(`$ ${[file, ...args].join(' ')}\n`);
    const child = execa(file, args, {
      cwd: this.#work,
      env: this.#environment(),
      stdin: 'ignore',
      reject: false,
      all: true,
    });
    for await (const line of child.iterable({ from: 'all' }))
      say(`${line.replaceAll(this.#password, '…')}\n`);
    const { exitCode } = await child;
    if (args[0] === 'push') say(`$ echo $?\n${exitCode ?? 255}\n`);
    return exitCode ?? 255;
  }

  async #showPage(): Promise<void> {
    const { http } = this.#server.addresses;
    const url = http.replace('://127.0.0.1', `://${TOOL}.localhost`);
    say(`$ curl ${url}/\n`);
    const { stdout } = await execa('curl', ['-sS', '--max-time', String(PAGE_MS / 1000), `${url}/`], {
      env: NO_PROXY,
      reject: false,
    });
    say(`${stdout}\n`);
  }

  #environment(): Record<string, string> {
    const key = join(this.#folder, 'home/.ssh/id_ed25519');
    return {
      ...NO_PROXY,
      // Keep git from reading the person's own configuration. Otherwise settings there, such as those for signatures,
      // hooks and addresses, would affect these commits and pushes.
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_SSH_COMMAND: `ssh -F none -i ${key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=${join(this.#folder, 'known_hosts')} -o LogLevel=ERROR`,
      GIT_TERMINAL_PROMPT: '0',
      GIT_AUTHOR_NAME: USER,
      GIT_AUTHOR_EMAIL: `${USER}@example.org`,
      GIT_COMMITTER_NAME: USER,
      GIT_COMMITTER_EMAIL: `${USER}@example.org`,
    };
  }
}

function say(text: string): void {
  process.stdout.write(text);
}

if (import.meta.main) {
  await using demo = await Demo.start();
  process.exitCode = (await demo.play()) ? 0 : 1;
}
