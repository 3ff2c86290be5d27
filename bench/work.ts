import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { TestServer } from '../test/support/server.ts';
import { WorkTree } from '../test/support/work-tree.ts';

/** A work tree with one commit, for pushes to any address. */
export async function smallTree(server: TestServer): Promise<WorkTree> {
  const tree = await WorkTree.create(server, 'ssh', 'hello');
  await tree.commit('first', { LICENSE: 'CC0-1.0\n', 'app.py': 'print("0")\n' });
  return tree;
}

/** Pushes a branch as main to this address. @throws Error if the push is refused. */
export async function push(tree: WorkTree, address: string, branch = 'main'): Promise<void> {
  const { exitCode, stderr } = await tree.push(address, `${branch}:main`);
  if (exitCode !== 0) throw new Error(`the push to ${address.replace(/:[^:@/]*@/, ':…@')} failed: ${stderr}`);
}

export interface SeenLine {
  readonly text: string;
  /** The time at which the line was read, in milliseconds since 1970. */
  readonly at: number;
}

/** Pushes main, and calls `onLine` with each `remote:` line as it arrives. @throws Error if the push is refused. */
export async function pushSeen(
  server: TestServer,
  folder: string,
  address: string,
  onLine: (line: SeenLine) => void,
): Promise<void> {
  const child = spawn('git', ['push', address, 'main'], {
    cwd: folder,
    env: server.clientEnvironment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'close');
  const said: string[] = [];
  createInterface({ input: child.stderr }).on('line', (text) => {
    said.push(text);
    if (said.length > 20) said.shift();
    if (text.startsWith('remote: ')) onLine({ text: text.slice('remote: '.length), at: Date.now() });
  });
  const [code] = await ended;
  if (code !== 0) throw new Error(`a push failed: ${said.join('\n')}`);
}
