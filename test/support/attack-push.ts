import { execa } from 'execa';
import { type CommandList, encodeCommandList } from '../../src/git/push/command-list.ts';
import type { TestServer } from './server.ts';
import type { WorkTree } from './work-tree.ts';

/** A tool on a server, and the clone in which a test makes the objects that it pushes. */
export interface Fabric {
  readonly server: TestServer;
  readonly name: string;
  readonly tree: WorkTree;
}

/** A push that no honest client would send. */
export interface RawPush {
  readonly commands: CommandList['commands'];
  readonly capabilities?: readonly string[];
  /** Arguments of `git rev-list` that select the objects to send, such as a commit. */
  readonly objects?: readonly string[];
  /** A pack to send instead of `objects`. */
  readonly pack?: Buffer;
  /** A request body to send instead of the commands and the pack. */
  readonly body?: Buffer;
}

/** Sends a hand-made push over HTTP. @returns the status, and the answer as text without the headers of side band 2. */
export async function rawPush(
  { server, name, tree }: Fabric,
  push: RawPush,
): Promise<{ readonly status: number; readonly text: string }> {
  const { commands, capabilities = ['report-status', 'side-band-64k', 'atomic'], objects = [] } = push;
  const list = { commands, capabilities: new Set(capabilities), shallow: [], pushOptions: [] };
  const pack = push.pack ?? (await packOf(tree, objects));
  const response = await fetch(`http://${server.http}/${name}.git/git-receive-pack`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${server.user}:${server.password}`).toString('base64')}`,
      'content-type': 'application/x-git-receive-pack-request',
    },
    body: Uint8Array.from(push.body ?? Buffer.concat([encodeCommandList(list), pack])),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await response.text();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a packet may begin in the middle of a line
  return { status: response.status, text: text.replace(/[0-9a-f]{4}\u0002/g, '') };
}

/** Returns a pack of the objects that these arguments of `git rev-list` select. */
export async function packOf(tree: WorkTree, objects: readonly string[]): Promise<Buffer> {
  const { stdout } = await execa('git', ['pack-objects', '--stdout', '--revs', '--quiet'], {
    cwd: tree.folder,
    input: objects.map((id) => `${id}\n`).join(''),
    encoding: 'buffer',
    // One pack in 256 ends with the byte of a line feed, which belongs to the pack.
    stripFinalNewline: false,
  });
  return Buffer.from(stdout);
}
