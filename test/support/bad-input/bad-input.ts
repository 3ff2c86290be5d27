import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { collect } from '../http/http-raw.ts';
import { run, TestServer, timeout, until } from '../server.ts';
import { liveTool, type WorkTree } from '../work-tree.ts';
import { Neighbour } from './bad-input-neighbour.ts';

/** One kind of bad input. `send` sends it once, and asserts the answer. */
export interface BadInput {
  readonly name: string;
  readonly times: number;
  readonly send: (siege: Siege) => Promise<unknown>;
}

/** What a test measures of the server before and after the bad input. */
export interface Gauge {
  readonly pid: number;
  readonly descriptors: number;
  /** The number of git processes that the server has started and that still run. */
  readonly gits: number;
  readonly residentMiB: number;
  /** The highest value that `residentMiB` has had since the server's start. */
  readonly peakMiB: number;
}

/**
 * The allowed growth of resident memory, in MiB, from the first round to the end. Heap and malloc settle in the second
 * or third round, and eight more rounds do not raise the memory. One gzip bomb held in memory would take 96 MiB.
 */
const MORE_MIB = 48;
/** How far, in MiB, the peak may be above the memory after the first round. Up to eight gzip bombs come at once. */
const MORE_AT_PEAK_MIB = 160;
/** How many inputs are sent at once: fewer than the connections that the SSH door allows one address. */
const AT_ONCE = 8;
const BATCH_LIMIT_MS = 90_000;

/**
 * A real server with two users. The attacker maintains the live tool `hello`, and the neighbour keeps working during
 * the attack. Each of them has an address of its own in the loopback network.
 */
export class Siege implements AsyncDisposable {
  readonly server: TestServer;
  readonly door: 'ssh' | 'http';
  readonly neighbour: Neighbour;
  /** The attacker's clone. `first` is the live commit. */
  readonly tree: WorkTree;
  readonly first: string;

  private constructor(
    server: TestServer,
    door: 'ssh' | 'http',
    parts: Pick<Siege, 'neighbour' | 'tree' | 'first'>,
  ) {
    this.server = server;
    this.door = door;
    this.neighbour = parts.neighbour;
    this.tree = parts.tree;
    this.first = parts.first;
  }

  static async lay(door: 'ssh' | 'http', settings: Record<string, string> = {}): Promise<Siege> {
    // The options with which `npm start` runs the server.
    const NODE_OPTIONS = '--max-semi-space-size=1 --max-old-space-size=512';
    const server = await TestServer.start({ NODE_OPTIONS, ...settings });
    try {
      const { tree, first } = await liveTool(server, 'hello');
      return new Siege(server, door, { tree, first, neighbour: await Neighbour.settle(server, door) });
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }

  get port(): number {
    return Number(this.server[this.door].split(':')[1]);
  }

  /** The path of the attacker's key. */
  get key(): string {
    return join(this.server.folder, 'home/.ssh/id_ed25519');
  }

  /** The attacker's password as a header value. */
  get authorization(): string {
    return `Basic ${Buffer.from(`${this.server.user}:${this.server.password}`).toString('base64')}`;
  }

  /** Sends one kind of bad input `kind.times` times, while the neighbour keeps working. */
  async endure(kind: BadInput): Promise<void> {
    await Promise.all([this.send(kind, kind.times), this.neighbour.push()]);
    await this.neighbour.list();
  }

  async send(kind: BadInput, times: number): Promise<void> {
    for (let sent = 0; sent < times; sent += AT_ONCE) {
      const batch = Array.from({ length: Math.min(AT_ONCE, times - sent) }, () => kind.send(this));
      await Promise.race([Promise.all(batch), timeout(BATCH_LIMIT_MS, `${kind.name} was not answered`)]);
    }
  }

  async gauge(): Promise<Gauge> {
    const { pid } = this.server;
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const mebibytes = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
    return {
      pid,
      descriptors: (await readdir(`/proc/${pid}/fd`)).length,
      gits: await gitsBelow(pid),
      residentMiB: mebibytes('VmRSS'),
      peakMiB: mebibytes('VmHWM'),
    };
  }

  /**
   * Asserts that the server did not restart, has no git, no more descriptors and not much more memory than before,
   * and has logged no errors.
   */
  async assertAsBefore(before: Gauge): Promise<void> {
    const now = async () => {
      // V8 collects garbage only if the server has work.
      await this.server.get('quiet');
      return await this.gauge();
    };
    await until(async () => (await now()).gits === 0, 'no git is left');
    await until(async () => (await now()).descriptors <= before.descriptors, 'descriptors as before');
    const most = before.residentMiB + MORE_MIB;
    await until(async () => (await now()).residentMiB <= most, `memory below ${most} MiB`);
    const { peakMiB, pid } = await now();
    assert.ok(peakMiB <= before.residentMiB + MORE_AT_PEAK_MIB, `the peak was ${peakMiB} MiB`);
    assert.equal(pid, before.pid);
    const errors = this.server.lines.filter(({ level }) => level === 'error');
    assert.deepEqual(errors, [], 'the log has errors');
  }

  /** Asserts that the input made, moved and deleted no ref of `hello`, and that the page of `hello` is as before. */
  async assertUntouched(): Promise<void> {
    const refs = await this.server.inRepository('hello', 'for-each-ref', '--format=%(refname) %(objectname)');
    assert.equal(refs, `refs/heads/main ${this.first}\nrefs/releases/v1 ${this.first}`);
    assert.equal((await this.server.get('hello')).body, 'one');
  }

  /** A raw connection of the attacker. */
  async open(localAddress = '127.0.0.3'): Promise<Socket> {
    const socket = createConnection({ host: '127.0.0.1', port: this.port, localAddress, noDelay: true });
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }

  /**
   * Sends pieces, `pauseMs` apart, and reads until the server ends the connection. Throws if that takes longer than
   * `limitMs`.
   */
  async knock(
    pieces: readonly (string | Buffer)[],
    { limitMs = 60_000, pauseMs = 0, localAddress = '127.0.0.3' } = {},
  ): Promise<string> {
    const socket = await this.open(localAddress);
    const answer = collect(socket, limitMs);
    for (const piece of pieces) {
      if (socket.destroyed) break;
      socket.write(piece);
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    const { text, isClosed } = await answer;
    assert.ok(isClosed, `the connection is still open after ${limitMs} ms: ${text.slice(0, 200)}`);
    return text;
  }
}

/**
 * Attacks one door with all kinds of bad input: first a round without the neighbour to warm up, then a test for each
 * kind. Then asserts that memory, descriptors, refs and the live page are as before, and that the neighbour can deploy.
 */
export async function besiege(
  context: TestContext,
  door: 'ssh' | 'http',
  kindsFor: (siege: Siege) => readonly BadInput[],
): Promise<void> {
  await using siege = await Siege.lay(door, {
    TOOLFORGE_PUSH_TREE_BYTES: '64',
    TOOLFORGE_PUSH_SSH_GRACE_TIME: '3',
  });
  const kinds = kindsFor(siege);
  assert.ok(kinds.length >= 20);
  for (const kind of kinds) await siege.send(kind, Math.min(kind.times, AT_ONCE));
  const before = await siege.gauge();
  for (const kind of kinds)
    await context.test(
      `${kind.name}: the ${door.toUpperCase()} server handles this bad input as it should, and another user can push meanwhile`,
      () => siege.endure(kind),
    );
  context.diagnostic(`memory was ${before.residentMiB} MiB and is ${(await siege.gauge()).residentMiB} MiB`);
  await context.test(
    'threat 88: after bad input, memory and file descriptors are about as before, and no git process is left',
    () => siege.assertAsBefore(before),
  );
  await context.test(
    'threat 36: refused input makes and moves no ref, and the live page stays as it was',
    () => siege.assertUntouched(),
  );
  await context.test('after bad input, another user can still deploy', () =>
    siege.neighbour.deploy('still undisturbed'),
  );
}

async function gitsBelow(pid: number): Promise<number> {
  const { stdout } = await run('ps', ['-eo', 'pid=,ppid=,comm=']);
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/));
  const below = (parent: string): string[][] =>
    rows.filter(([, ppid]) => ppid === parent).flatMap((row) => [row, ...below(row[0] ?? '')]);
  return below(String(pid)).filter(([, , comm = '']) => /^git\b/.test(comm)).length;
}
