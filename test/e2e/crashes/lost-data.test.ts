import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { appendFile, cp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { Backups } from '../../../src/store/backups/backups.ts';
import { TestServer, until } from '../../support/server.ts';
import { liveTool, type WorkTree, webTool } from '../../support/work-tree.ts';

// Each test begins with the same data folder. The tool `kept` has the releases v1 to v4: each of v1 to v3 has its own
// artifact; v4 has the artifact of v3 and a config var. All backups in the folder were made when v2 was live.

let server: TestServer;
let tree: WorkTree;
/** The copies of the data folder that were made when v2 was live (`old`) and when v4 was live (`now`). */
let old: string;
let now: string;
let data: string;

const copy = (from: string, to: string) => execa('cp', ['-a', '--', from, to]);
const main = () => server.inRepository('kept', 'rev-parse', 'refs/heads/main');

before(async () => {
  server = await TestServer.start();
  data = join(server.folder, 'data');
  old = join(server.folder, 'old');
  now = join(server.folder, 'now');
  ({ tree } = await liveTool(server, 'kept', showsVar('one')));
  await deploy('two');
  await new Backups(data).backUpStore();
  await new Backups(data).backUpDirectory();
  await server.kill('SIGTERM');
  await copy(data, old);
  await server.boot();
  await deploy('three');
  const set = await server.command('config', 'set', 'kept', 'NAME=secret');
  assert.equal(set.exitCode, 0, set.stderr);
  await server.kill('SIGTERM');
  await copy(data, now);
});
after(async () => server[Symbol.asyncDispose]());

async function deploy(text: string) {
  await tree.commit(text, showsVar(text));
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
}

/** The files of a web tool that answers with `text` and the value of its config var NAME. */
function showsVar(text: string) {
  const files = webTool(text);
  const shown = files['server.py']?.replace(
    `${JSON.stringify(text)}.encode()`,
    `('${text} ' + os.environ.get('NAME', '')).strip().encode()`,
  );
  return { ...files, 'server.py': shown ?? '' };
}

/** The data that must never be lost: commits of refs, artifacts, and logs of deployments. */
async function inventory() {
  const refs = await server.inRepository('kept', 'for-each-ref', '--format=%(objectname)');
  return {
    commits: new Set(refs.split('\n').filter((line) => line !== '')),
    artifacts: await names('artifacts/kept'),
    logs: await names('deployments/kept'),
  };
}

const stamps = () => readdir(join(data, 'set-aside')).catch(() => []);

/** The names in a folder of the data folder, and in its set-aside copies. */
async function names(path: string): Promise<string[]> {
  const places = [path, ...(await stamps()).map((stamp) => join('set-aside', stamp, path))];
  const found = await Promise.all(places.map((place) => readdir(join(data, place)).catch(() => [])));
  return found.flat();
}

type Inventory = Awaited<ReturnType<typeof inventory>>;

async function assertNothingLost(had: Inventory) {
  const has = await inventory();
  assert.deepEqual(
    [...had.commits].filter((commit) => !has.commits.has(commit)),
    [],
  );
  assert.deepEqual(
    had.artifacts.filter((id) => !has.artifacts.includes(id)),
    [],
  );
  assert.deepEqual(
    had.logs.filter((id) => !has.logs.includes(id)),
    [],
  );
}

/** Starts the server. @returns null, or the server's output if it refuses to start. */
async function boot(): Promise<string | null> {
  server.told = '';
  server.lines.length = 0;
  return await server.boot().then(
    () => null,
    () => server.told,
  );
}

/** Runs the command that a server names when it refuses to start. @returns the words of the command. */
async function obey(told: string): Promise<string> {
  const [, words = ''] = /npx toolforge-push ((?:restore|start-over) [a-z-]+)/.exec(told) ?? [];
  assert.notEqual(words, '', told);
  const done = await server.local(...words.split(' '));
  assert.equal(done.exitCode, 0, done.stderr);
  return words;
}

/** Restores secrets.key if an earlier test has removed it. */
async function bringKeyBack() {
  const kept = join(server.folder, 'secrets.key');
  if (existsSync(kept)) await rename(kept, join(server.folder, 'keys/secrets.key'));
}

const file = (path: string) => join(data, path);
const remove = (...paths: string[]) => Promise.all(paths.map((path) => removeTree(file(path))));
async function from(snapshot: string, ...paths: string[]) {
  for (const path of paths) {
    await remove(path);
    if (existsSync(join(snapshot, path))) await copy(join(snapshot, path), file(path));
  }
}
const STORE = ['store.sqlite', 'store.sqlite-wal', 'store.sqlite-shm'];
const HELD = ['repositories', 'artifacts', 'deployments', 'releases'];
const liveArtifact = async () => {
  const [first = [], second = []] = await Promise.all([
    readdir(join(now, 'artifacts/kept')),
    readdir(join(old, 'artifacts/kept')),
  ]);
  return `artifacts/kept/${first.find((id) => !second.includes(id))}`;
};

/** Removes a release from the store, which still names it as the live release. */
function forgetRelease(version: number): void {
  const store = new DatabaseSync(file('store.sqlite'));
  store.exec(`DELETE FROM releases WHERE tool = 'kept' AND version = ${version}`);
  store.close();
}

interface Case {
  readonly what: string;
  /** Damages the data folder, in which v4 is live, while no server runs. */
  readonly harm: () => Promise<unknown>;
  /** The command that the server names when it refuses to start; null if the server starts. */
  readonly refused: string | null;
  /** The text with which the tool answers in the end; the text of v4 if not set. */
  readonly serves?: string;
  /** The version of the next release that a redeploy or push makes; v5 if not set. */
  readonly next?: number;
  /** Whether the repository has lost the live commit. */
  readonly isCommitLost?: boolean;
  /** Damaged files that must be set aside, not deleted. */
  readonly aside?: readonly string[];
}

const TORN = ['HEAD', 'refs/heads/main', 'refs/releases/v4', 'refs/releases/v2'];

const cases: readonly Case[] = [
  { what: 'the store is missing', harm: () => remove(...STORE), refused: 'restore store' },
  {
    what: 'the store is an empty file',
    harm: async () => {
      await remove(...STORE);
      await writeFile(file('store.sqlite'), '');
    },
    refused: 'restore store',
  },
  {
    what: 'the store is an empty file and there is no backup',
    harm: async () => {
      await remove(...STORE, 'backups');
      await writeFile(file('store.sqlite'), '');
    },
    refused: 'start-over store',
  },
  { what: 'the store is an older copy', harm: () => from(old, ...STORE), refused: null },
  {
    what: 'everything but the store is an older copy',
    harm: () => from(old, ...HELD, 'directory.yaml'),
    refused: 'start-over artifacts',
    isCommitLost: true,
  },
  {
    what: 'the store is cut off after 8 KiB',
    harm: async () => {
      await remove('store.sqlite-wal', 'store.sqlite-shm');
      await truncate(file('store.sqlite'), 8192);
    },
    refused: 'restore store',
    aside: ['store.sqlite'],
  },
  {
    what: 'the store is overwritten with text',
    harm: () => writeFile(file('store.sqlite'), 'x'.repeat(50_000)),
    refused: 'restore store',
  },
  {
    what: 'all repositories are missing',
    harm: () => remove('repositories'),
    refused: 'start-over repositories',
    isCommitLost: true,
  },
  {
    what: 'the repository has no refs',
    harm: async () => {
      await remove('repositories/kept.git/refs', 'repositories/kept.git/packed-refs');
      await cp(join(old, 'repositories/kept.git/refs'), file('repositories/kept.git/refs'), {
        recursive: true,
        filter: (path) => !path.includes('/refs/'),
      });
    },
    refused: null,
  },
  {
    what: 'the repository is an older copy',
    harm: () => from(old, 'repositories'),
    refused: null,
    isCommitLost: true,
  },
  {
    what: 'the store and the artifacts are older copies',
    harm: () => from(old, ...STORE, 'artifacts'),
    refused: 'start-over artifacts',
  },
  {
    what: 'refs are empty files and packed-refs ends with garbage',
    harm: async () => {
      const repository = 'repositories/kept.git';
      for (const name of TORN) await writeFile(file(join(repository, name)), '');
      await appendFile(file(join(repository, 'packed-refs')), '0123456789ab');
    },
    refused: null,
    aside: [...TORN, 'packed-refs'].map((name) => join('repositories/kept.git', name)),
  },
  {
    what: 'the store is an older copy and the file v4.json is torn',
    harm: async () => {
      await from(old, ...STORE);
      await truncate(file('releases/kept/v4.json'), 100);
    },
    refused: 'start-over releases',
    serves: 'three',
  },
  {
    what: 'the store is an older copy and both the ref and the file v4.json of v4 are torn',
    harm: async () => {
      await from(old, ...STORE);
      await writeFile(file('repositories/kept.git/refs/releases/v4'), '');
      await truncate(file('releases/kept/v4.json'), 100);
    },
    refused: 'start-over releases',
    serves: 'three',
  },
  {
    what: 'the store is an older copy and all repositories are missing',
    harm: async () => {
      await from(old, ...STORE);
      await remove('repositories');
    },
    refused: 'start-over repositories',
    isCommitLost: true,
  },
  {
    what: 'the store is an older copy and the repository has no refs',
    harm: async () => {
      await from(old, ...STORE);
      await remove('repositories/kept.git/refs', 'repositories/kept.git/packed-refs');
    },
    refused: null,
  },
  {
    what: 'the live release is missing in the store and its ref is missing in the repository',
    harm: async () => {
      forgetRelease(4);
      await remove('repositories/kept.git/refs/releases/v4');
    },
    refused: null,
  },
  {
    what: 'the live release is missing in the store and its ref and its file v4.json are missing too',
    harm: async () => {
      forgetRelease(4);
      await remove('repositories/kept.git/refs/releases/v4', 'releases/kept/v4.json');
    },
    refused: 'start-over releases',
    serves: 'three',
  },
  {
    what: 'secrets.key is missing',
    harm: () => rename(join(server.folder, 'keys/secrets.key'), join(server.folder, 'secrets.key')),
    refused: 'start-over config-vars',
    serves: 'three',
  },
  {
    what: 'the store is an older copy and the ref of v4 is torn',
    harm: async () => {
      await from(old, ...STORE);
      await writeFile(file('repositories/kept.git/refs/releases/v4'), '\0\0\0\0');
    },
    refused: null,
  },
  {
    what: 'the folder artifacts is missing',
    harm: () => remove('artifacts'),
    refused: 'start-over artifacts',
  },
  {
    what: 'all artifacts of the tool are missing',
    harm: async () => {
      for (const id of await readdir(file('artifacts/kept'))) await remove(`artifacts/kept/${id}`);
    },
    refused: 'start-over artifacts',
  },
  {
    what: 'the folder artifacts is an older copy',
    harm: () => from(old, 'artifacts'),
    refused: 'start-over artifacts',
  },
  {
    what: 'there is an artifact that no release has',
    harm: async () => copy(file(await liveArtifact()), file('artifacts/kept/unknown')),
    refused: null,
  },
  {
    what: 'the live artifact is not marked as complete',
    harm: async () => remove(`${await liveArtifact()}/complete`),
    refused: null,
  },
  { what: 'directory.yaml is missing', harm: () => remove('directory.yaml'), refused: 'restore directory' },
  {
    what: 'directory.yaml is empty',
    harm: () => writeFile(file('directory.yaml'), ''),
    refused: 'restore directory',
  },
  {
    what: 'directory.yaml is missing and there is no backup',
    harm: () => remove('directory.yaml', 'backups'),
    refused: 'start-over directory',
  },
  {
    what: 'directory.yaml does not have the tool yet',
    harm: async () => {
      const text = await readFile(file('directory.yaml'), 'utf8');
      await writeFile(file('directory.yaml'), text.slice(0, text.indexOf('  kept:')));
    },
    refused: null,
  },
  { what: 'directory.yaml has a tool without data', harm: () => server.addTool('more'), refused: null },
  {
    what: 'directory.yaml is torn',
    harm: async () => {
      const { length } = await readFile(file('directory.yaml'));
      await truncate(file('directory.yaml'), Math.floor(length / 2));
      await appendFile(file('directory.yaml'), '\n"');
    },
    refused: 'restore directory',
    aside: ['directory.yaml'],
  },
];

for (const { what, harm, refused, ...more } of cases) {
  const { serves = 'three secret', next = 5, isCommitLost = false, aside = [] } = more;
  test(`threat 87: if ${what}, the server keeps all commits, artifacts and logs that are left, and it ${refused === null ? 'starts and works' : `works after the command that it names: \`${refused}\``}`, async () => {
    await server.kill('SIGTERM');
    await removeTree(data);
    await copy(now, data);
    await bringKeyBack();
    const live = await main();
    await harm();
    const had = await inventory();

    const told = await boot();
    if (refused !== null) {
      assert.notEqual(told, null, 'the server started');
      assert.equal((await server.local('doctor')).exitCode, 1);
      await assertNothingLost(had);
      assert.equal(await obey(told ?? ''), refused);
      const again = await boot();
      assert.equal(again, null, again ?? '');
    } else assert.equal(told, null, told ?? '');
    if (refused === 'start-over artifacts') {
      if (isCommitLost) {
        // The commit of v4 is lost on this machine, so v4 cannot be built. Somebody who has the commit must push it.
        await server.command('stop', 'kept');
      } else {
        const built = await server.command('redeploy', 'kept');
        assert.equal(built.exitCode, 0, built.stderr);
      }
    }
    const isDown = refused === 'start-over artifacts' && isCommitLost;
    if (!isDown) await until(async () => (await server.get('kept')).body === serves, `it serves ${serves}`);
    if (!isCommitLost) assert.equal(await main(), live);
    await assertNothingLost(had);
    for (const path of aside)
      assert.ok(existsSync(file(join('set-aside', (await stamps())[0] ?? '', path))), path);

    await server.addTool('kept');
    if (refused === 'start-over directory') return;
    await deploy(`after ${what}`);
    const releases = await server.command('releases', 'kept', '--json');
    const [newest] = JSON.parse(releases.stdout) as { version: number }[];
    assert.equal(newest?.version, refused === 'start-over artifacts' && !isCommitLost ? next + 1 : next);
    const name = serves.split(' ')[1] ?? '';
    assert.equal((await server.get('kept')).body, `after ${what} ${name}`.trim());
    assert.equal(await main(), await tree.head());
    await assertNothingLost(had);
    await tree.git('reset', '--quiet', '--hard', 'HEAD^');
    await rm(join(tree.folder, '.git/refs/remotes'), { recursive: true, force: true });
  });
}
