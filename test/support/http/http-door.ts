import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { execa, type Options } from 'execa';
import { pino } from 'pino';
import type { Directory } from '../../../src/auth/directory.ts';
import type { CommandLine, Services } from '../../../src/cli/command.ts';
import { DeployError } from '../../../src/core/errors.ts';
import type { ToolName } from '../../../src/core/names.ts';
import { createHttpDoor, type HttpDoorOptions } from '../../../src/http/http-door.ts';
import type { Gateway } from '../../../src/run/runtime.ts';
import { HttpPackServices } from './http-pack-services.ts';

/** The password of every user in `HttpDirectory`. */
export const PASSWORD = 'correct horse: battery';

/** A user directory in memory: alice maintains hello and frozen (disabled), and bob maintains other. */
export class HttpDirectory implements Directory {
  isDown = false;
  readonly asked: string[] = [];
  readonly #maintainers: Record<string, string> = { hello: 'alice', frozen: 'alice', other: 'bob' };

  async identifyByKey(): Promise<null> {
    return null;
  }

  async identifyByPassword(login: string, password: string) {
    if (this.isDown) throw new DeployError('DIRECTORY_UNAVAILABLE', 'the directory is down', 'Try later.');
    this.asked.push(login);
    const isKnown = login === 'alice' || login === 'bob';
    return isKnown && password === PASSWORD ? { uid: login, onlyTool: null } : null;
  }

  async findTool(name: ToolName) {
    const maintainer = this.#maintainers[name];
    if (maintainer === undefined) return null;
    return { name, maintainers: new Set([maintainer]), isDisabled: name === 'frozen' };
  }

  async toolsOf(): Promise<ToolName[]> {
    return [];
  }

  async close(): Promise<void> {}
}

export interface TestDoor {
  readonly url: string;
  readonly port: number;
  readonly root: string;
  readonly directory: HttpDirectory;
  readonly packs: HttpPackServices;
  /** All log lines so far. */
  readonly log: string[];
  /** The address with alice's credentials. */
  readonly loggedIn: string;
  close(): Promise<void>;
}

export type DoorOverrides = Partial<Omit<HttpDoorOptions, 'config' | 'directory' | 'packServices'>> & {
  readonly config?: Partial<HttpDoorOptions['config']>;
  readonly directory?: Directory;
  readonly packServices?: (packs: HttpPackServices) => HttpDoorOptions['packServices'];
};

export const noGateway: Gateway = {
  toolOf: () => null,
  serve: () => assert('no tool was asked for'),
  upgrade: () => assert('no tool was asked for'),
};

function assert(message: string): never {
  throw new Error(message);
}

const noThrottle = { check: () => 0, isKnown: () => false, failed: () => {}, succeeded: () => {} };

/**
 * Opens an HTTP door on a free port with an empty folder. When the test ends, the door is closed and the folder
 * deleted.
 */
export async function openDoor(context: TestContext, overrides: DoorOverrides = {}): Promise<TestDoor> {
  const root = await mkdtemp(join(tmpdir(), 'toolforge-http-'));
  context.after(() => rm(root, { recursive: true, force: true, maxRetries: 5 }));
  const directory = new HttpDirectory();
  const packs = new HttpPackServices(root);
  const log: string[] = [];
  const addresses = { ssh: 'ssh://push.example.org:2222', http: 'https://push.example.org' };
  const door = createHttpDoor({
    directory,
    gateway: noGateway,
    sources: null,
    runCommand: async (line: CommandLine) => {
      await line.out(`${line.principal.uid} ${JSON.stringify(line.argv)}\n`);
      return 0;
    },
    // The door reads only the addresses. These tests run no commands that need more.
    services: { addresses, directory, audit: () => {} } as unknown as Services,
    throttle: noThrottle,
    log: pino(
      { level: 'debug', formatters: { level: (label) => ({ level: label }) } },
      { write: (line: string) => void log.push(line) },
    ),
    health: { ready: async () => null, health: async () => null },
    ...overrides,
    packServices: overrides.packServices?.(packs) ?? packs,
    config: {
      http: { host: '127.0.0.1', port: 0 },
      tls_certificate: null,
      tls_key: null,
      trusted_proxies: [],
      deploy_branch: 'main',
      pack_size: 512 * 1024 * 1024,
      ...overrides.config,
    },
    limits: { lingerMs: 500, drainMs: 200, ...overrides.limits },
  });
  const { port } = await door.listen();
  context.after(() => door.close());
  const close = () => door.close();
  const loggedIn = `http://alice:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}`;
  return { url: `http://127.0.0.1:${port}`, port, root, directory, packs, log, loggedIn, close };
}

/** Returns the value of an Authorization header. */
export function basic(login = 'alice', password = PASSWORD): string {
  return `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;
}

/** Runs the real git without any configuration. It never asks for input. */
export function runGit(cwd: string, args: readonly string[], options: Options = {}) {
  const identity = ['-c', 'user.name=Alice', '-c', 'user.email=alice@example.org', '-c', 'gc.auto=0'];
  return execa('git', [...identity, ...args], {
    cwd,
    all: true,
    reject: false,
    extendEnv: false,
    timeout: 60_000,
    ...options,
    env: {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      HOME: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      ...options.env,
    },
  });
}

/** Makes a repository with one commit on main. @returns its folder. */
export async function makeCommit(
  root: string,
  files: Readonly<Record<string, Buffer | string>>,
): Promise<string> {
  const folder = await mkdtemp(join(root, 'work-'));
  await runGit(folder, ['init', '--quiet', '--initial-branch=main']);
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  await runGit(folder, ['add', '.']);
  await runGit(folder, ['commit', '--quiet', '--message=First']);
  return folder;
}
