import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { execa } from 'execa';
import { pino } from 'pino';
import { FileDirectory } from '../../../src/auth/file/file-directory.ts';
import { LoginThrottle } from '../../../src/auth/login-throttle.ts';
import type { CommandLine, Services } from '../../../src/cli/command.ts';
import { loadOrMakeHostKeys } from '../../../src/ssh/protocol/host-keys.ts';
import { createSshDoor, type SshDoorOptions } from '../../../src/ssh/ssh-door.ts';
import { FakePackServices } from '../http/fake-pack-services.ts';

/** The result of an ssh or git command. */
export interface Ended {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A real SSH door on a free port, with alice, bob and their keys, and the tools hello (alice), wikibot (alice, bob) and
 * frozen (alice, disabled). Tests use the real OpenSSH and git clients.
 */
export class SshWorkbench {
  readonly folder = mkdtempSync(join(tmpdir(), 'ssh-door-'));
  readonly packServices = new FakePackServices(this.folder);
  readonly throttle = new LoginThrottle();
  readonly logged: Record<string, unknown>[] = [];
  readonly commands: CommandLine[] = [];
  /** Runs a command. By default it prints its words. */
  command: (line: CommandLine) => Promise<number> = async (line) => {
    await line.out(`${JSON.stringify(line.argv)}\n`);
    return 0;
  };
  port = 0;
  #close: () => Promise<void> = async () => {};

  static async open(options: Partial<SshDoorOptions> = {}): Promise<SshWorkbench> {
    const bench = new SshWorkbench();
    try {
      await bench.#open(options);
    } catch (error) {
      await bench.close();
      throw error;
    }
    return bench;
  }

  async #open(options: Partial<SshDoorOptions>): Promise<void> {
    for (const name of ['alice', 'bob', 'stranger']) this.makeKey(name, '-t', 'ed25519');
    this.writeDirectory();
    const directory = new FileDirectory(join(this.folder, 'directory.yaml'));
    const services = {
      directory,
      audit: () => {},
      deployBranch: 'trunk',
      addresses: { ssh: 'ssh://push.example.org:2222', http: 'http://push.example.org' },
    } as unknown as Services;
    const log = pino(
      { level: 'debug', base: null },
      new Writable({
        write: (line, _encoding, done) => {
          this.logged.push(JSON.parse(String(line)));
          done();
        },
      }),
    );
    const { config, ...rest } = options;
    const door = createSshDoor({
      config: {
        ssh: { host: '127.0.0.1', port: 0 },
        ssh_grace_time: 30_000,
        ssh_startups: 100,
        ssh_per_address: 50,
        ssh_per_person: 50,
        ...config,
      },
      hostKeys: await loadOrMakeHostKeys(join(this.folder, 'keys')),
      directory,
      packServices: this.packServices,
      services,
      runCommand: (line) => {
        this.commands.push(line);
        return this.command(line);
      },
      throttle: this.throttle,
      log,
      drainMs: 1000,
      ...rest,
    });
    this.port = (await door.listen()).port;
    this.#close = () => door.close();
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  makeKey(name: string, ...type: string[]): string {
    execFileSync('ssh-keygen', ['-q', '-N', '', '-C', name, ...type, '-f', this.path(name)]);
    return this.publicKey(name);
  }

  publicKey(name: string): string {
    return readFileSync(this.path(`${name}.pub`), 'utf8').trim();
  }

  writeDirectory(more: readonly string[] = []): void {
    const users = {
      alice: { keys: [this.publicKey('alice'), ...more.map((name) => this.publicKey(name))] },
      bob: { keys: [this.publicKey('bob')] },
    };
    const tools = {
      hello: { maintainers: ['alice'] },
      wikibot: { maintainers: ['alice', 'bob'] },
      frozen: { maintainers: ['alice'], disabled: true },
    };
    writeFileSync(this.path('directory.yaml'), JSON.stringify({ users, tools }));
  }

  sshArguments(key: string, more: readonly string[] = []): string[] {
    const options = [
      'IdentitiesOnly=yes',
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'BatchMode=yes',
    ];
    const keyPath = ['-i', this.path(key)];
    // If an option is given twice, ssh uses the first value. So `more` comes first.
    return ['-F', 'none', ...more, ...keyPath, ...options.flatMap((option) => ['-o', option])];
  }

  /** Runs `ssh LOGIN@HOST COMMAND`. */
  async ssh(
    login: string,
    key: string,
    command: readonly string[],
    more: readonly string[] = [],
  ): Promise<Ended> {
    const target = ['-p', String(this.port), '-l', login, '127.0.0.1'];
    const args = [...this.sshArguments(key, more), ...target, ...command];
    return ended(
      await execa('ssh', args, { reject: false, stdin: 'ignore', timeout: 30_000, stripFinalNewline: false }),
    );
  }

  gitEnvironment(key: string, more: readonly string[] = []): Record<string, string> {
    const words = ['ssh', ...this.sshArguments(key, more)];
    return {
      GIT_SSH_COMMAND: words.map((word) => `'${word}'`).join(' '),
      GIT_CONFIG_GLOBAL: '/dev/null',
      // Random bytes cannot be compressed, and trying takes longer than sending them.
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'core.compression',
      GIT_CONFIG_VALUE_0: '0',
      GIT_AUTHOR_NAME: 'Alice',
      GIT_AUTHOR_EMAIL: 'alice@example.org',
      GIT_COMMITTER_NAME: 'Alice',
      GIT_COMMITTER_EMAIL: 'alice@example.org',
    };
  }

  url(tool: string, login = 'alice'): string {
    return `ssh://${login}@127.0.0.1:${this.port}/${tool}.git`;
  }

  async git(
    args: readonly string[],
    options: { key?: string; cwd?: string; env?: Record<string, string> } = {},
  ): Promise<Ended> {
    const { key = 'alice', cwd = this.folder, env = {} } = options;
    return ended(
      await execa('git', args, {
        cwd,
        env: { ...this.gitEnvironment(key), ...env },
        reject: false,
        stdin: 'ignore',
        timeout: 60_000,
      }),
    );
  }

  /** Makes a repository with one commit on main. @returns its path. */
  async makeRepository(name: string): Promise<string> {
    const path = this.path(name);
    await this.git(['init', '-q', '-b', 'main', path]);
    await this.git(['commit', '-q', '--allow-empty', '-m', 'first'], { cwd: path });
    return path;
  }

  /** Waits until the log has a line with this message for which `isRight` returns true. Fails after 20 s. */
  async waitForLog(
    message: string,
    isRight: (line: Record<string, unknown>) => boolean = () => true,
  ): Promise<Record<string, unknown>> {
    const limit = AbortSignal.timeout(20_000);
    while (true) {
      const line = this.logged.find((entry) => entry['msg'] === message && isRight(entry));
      if (line !== undefined) return line;
      assert.ok(!limit.aborted, `“${message}” was not logged: ${JSON.stringify(this.logged)}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async close(): Promise<void> {
    await this.#close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function ended(result: { exitCode?: number; stdout?: unknown; stderr?: unknown }): Ended {
  // Without OpenSSH's own warnings about the unknown host key and the terminal.
  const stderr = String(result.stderr).replaceAll(
    /^(Warning: Permanently added|Pseudo-terminal will not) .*\r?\n?/gm,
    '',
  );
  return { code: result.exitCode, stdout: String(result.stdout), stderr };
}
