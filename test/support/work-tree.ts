import assert from 'node:assert/strict';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { execa } from 'execa';
import { signal } from '../../src/sandbox/process/process-table.ts';
import { PYTHON_SERVER } from './python-server.ts';
import { type Run, run, type TestServer } from './server.ts';

export type Files = Readonly<Record<string, string>>;

/** The program `toolforge-push`. */
export const CLIENT = resolve(import.meta.dirname, '../../src/cli/toolforge-push.js');

/** The parts of a server that a developer needs. */
export type Remote = Pick<TestServer, 'folder' | 'clientEnvironment' | 'remote'>;

/** A developer's clone, with the real git and the remote `toolforge`. */
export class WorkTree {
  readonly folder: string;
  readonly #server: Remote;

  private constructor(folder: string, server: Remote) {
    this.folder = folder;
    this.#server = server;
  }

  static async create(server: Remote, door: 'ssh' | 'http', tool: string): Promise<WorkTree> {
    const tree = new WorkTree(await mkdtemp(join(server.folder, 'work-')), server);
    await tree.git('init', '--quiet', '--initial-branch=main');
    await tree.git('remote', 'add', 'toolforge', server.remote(door, tool));
    return tree;
  }

  /** Runs `git` with these arguments in the clone. */
  async git(...args: string[]): Promise<Run> {
    return run('git', args, { cwd: this.folder, env: this.#server.clientEnvironment });
  }

  /** Like `git`. When `leave` fires, git and its children get the signal `name`, as from a terminal. */
  async gitUntil(leave: AbortSignal, name: 'SIGINT' | 'SIGKILL', ...args: string[]): Promise<Run> {
    const child = execa('git', args, {
      cwd: this.folder,
      env: this.#server.clientEnvironment,
      extendEnv: false,
      reject: false,
      stdin: 'ignore',
      detached: true,
    });
    const end = () => signal(-(child.pid ?? 0), name);
    leave.addEventListener('abort', end);
    const { exitCode, stdout, stderr } = await child;
    leave.removeEventListener('abort', end);
    return { exitCode: exitCode ?? 255, stdout, stderr };
  }

  /** Writes files and commits them all. @returns the commit's id. */
  async commit(message: string, files: Files): Promise<string> {
    for (const [path, text] of Object.entries(files)) {
      const file = join(this.folder, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text, { mode: path.endsWith('.sh') ? 0o755 : 0o644 });
    }
    await this.git('add', '--all');
    await this.git('commit', '--quiet', '--allow-empty', '--message', message);
    return this.head();
  }

  async head(): Promise<string> {
    return (await this.git('rev-parse', 'HEAD')).stdout;
  }

  /** Runs `toolforge-push words` in the clone, as on a machine without a server. */
  async client(
    words: readonly string[],
    more: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<Run> {
    const { exitCode, stdout, stderr } = await execa(process.execPath, [CLIENT, ...words], {
      ...{ cwd: this.folder, extendEnv: false, reject: false },
      env: { ...this.#server.clientEnvironment, ...more.env },
      ...(more.input === undefined ? { stdin: 'ignore' } : { input: more.input }),
    });
    return { exitCode: exitCode ?? 255, stdout, stderr };
  }

  async push(...args: string[]): Promise<Run> {
    return this.git('push', ...(args.length === 0 ? ['toolforge', 'main'] : args));
  }
}

/** Adds a tool, and pushes it over SSH. Its release v1 is then live. @returns also the pushed commit, as `first`. */
export async function liveTool(
  server: TestServer,
  name: string,
  files: Files = webTool('one'),
): Promise<{ name: string; tree: WorkTree; first: string }> {
  await server.addTool(name);
  const tree = await WorkTree.create(server, 'ssh', name);
  const first = await tree.commit('one', files);
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  return { name, tree, first };
}

/** A web tool that needs only Python's standard library, and answers with `text`. Its build runs `build.sh`. */
export function webTool(text: string, build = 'echo built'): Files {
  return {
    LICENSE: 'CC0-1.0\n',
    Procfile: 'web: python3 server.py\n',
    'build.sh': `${build}\n`,
    'server.py': `${PYTHON_SERVER}
def answer(method, path, headers, sent, client):
    body = ${JSON.stringify(text)}.encode()
    return 200, body
serve(answer)
`,
  };
}
