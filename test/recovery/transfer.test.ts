import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { pino } from 'pino';
import type { ToolName } from '../../src/core/names.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { makeRefs } from '../../src/recovery/archive/import-objects.ts';
import { importTool } from '../../src/recovery/archive/import-tool.ts';
import { noteTags } from '../../src/recovery/archive/imported-tags.ts';
import { sealText } from '../../src/recovery/archive/passphrase.ts';
import { Sealing } from '../../src/recovery/archive/sealed-file.ts';
import type { ToolManifest } from '../../src/recovery/archive/tool-manifest.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { type Run, TestServer, until } from '../support/server.ts';
import { liveTool, WorkTree, webTool } from '../support/work-tree.ts';

const PASSPHRASE = 'correct horse battery';

let [from, to] = [] as unknown as [TestServer, TestServer];
/** The folder of the exported file and of the passphrases. */
let folder = '';
let exported = '';
let first = '';

before(async () => {
  [from, to] = await Promise.all([TestServer.start(), TestServer.start()]);
  folder = from.folder;
  exported = join(folder, 'moved.tar');
  await writeFile(join(folder, 'passphrase'), `${PASSPHRASE}\n`);
});
after(async () => {
  await from[Symbol.asyncDispose]();
  await to[Symbol.asyncDispose]();
});

const passed = (run: Run) => assert.equal(run.exitCode, 0, run.stdout + run.stderr);
const given = ['--passphrase-file'];
const importing = async (file: string, ...words: string[]) =>
  await to.local('tool', 'import', file, ...given, join(folder, 'passphrase'), ...words);

/** What a server has about its tools: their list, their refs and releases, and files that imports left. */
async function stateOf(server: TestServer): Promise<string> {
  const data = join(server.folder, 'data');
  const tools = await server.local('tools', '--json');
  const refs = await Promise.all(
    (await readdir(join(data, 'repositories')).catch(() => [])).map(
      async (name) => `${name} ${await server.inRepository(name.replace(/\.git$/, ''), 'for-each-ref')}`,
    ),
  );
  const left = await readdir(join(data, 'transfers')).catch(() => []);
  const releases = await Promise.all(
    JSON.parse(tools.stdout).map(
      async ({ name }: { name: string }) => (await server.command('releases', name, '--json')).stdout,
    ),
  );
  return JSON.stringify([tools.stdout, refs, left, releases]);
}

test('a tool that is exported in the middle of a push is live after its import on another server, with its history, tags, config vars and settings', async () => {
  const { name, tree, first: one } = await liveTool(from, 'moved', webTool('one'));
  first = one;
  for (const words of [
    ['config', 'set', name, 'SECRET=s3cret', 'OPEN=yes'],
    ['config', 'share', name, 'OPEN'],
  ])
    passed(await from.command(...words));
  await tree.commit('two', {
    ...webTool('two'),
    'jobs.yaml': '- name: nightly\n  command: "true"\n  schedule: "@yearly"\n',
  });
  passed(await tree.push());
  const live = await tree.head();
  passed(await from.command('schedule', 'pause', name, 'nightly'));
  passed(await from.command('scale', name, 'web=2'));
  passed(await from.local('limit', name, 'builds=77'));
  await tree.git('tag', '-a', '-m', 'the first', 'v1.0', one);
  passed(await tree.git('push', '--quiet', 'toolforge', 'v1.0'));
  await tree.commit('broken', { ...webTool('x'), 'server.py': 'raise SystemExit(5)\n' });
  assert.equal((await tree.push()).exitCode, 1);
  await tree.commit('slow', webTool('slow', 'sleep 90'));
  const pushing = tree.push();
  await until(async () => (await from.command('ps', name)).stdout.includes('is building'), 'a build');
  const made = await from.local('tool', 'export', name, exported, ...given, join(folder, 'passphrase'));
  passed(made);
  assert.equal((await stat(exported)).mode & 0o777, 0o600);
  passed(await from.command('cancel', name));
  assert.equal((await pushing).exitCode, 1);

  const before = await stateOf(to);
  const unknown = await importing(exported);
  assert.match(unknown.stderr, /has no tool moved[\s\S]*tool add moved --maintainer USER/);
  assert.equal(await stateOf(to), before);
  await to.addTool(name);
  const imported = await importing(exported);
  passed(imported);
  assert.match(imported.stdout, /Took 4 releases, 1 tag, 2 config vars of moved/);
  // No imported file raises a limit silently.
  assert.match(
    imported.stdout,
    /the limits of the other server: builds 77\. .* limit moved builds=default\n/,
  );
  assert.equal((await to.get(name)).body, 'two');
  const releases = JSON.parse((await to.command('releases', name, '--json')).stdout);
  assert.deepEqual(
    releases.map(({ version, state, commit, by }: Record<string, unknown>) => [
      version,
      state,
      commit === live,
      by,
    ]),
    [
      [5, 'live', true, 'operator'],
      [4, 'failed', false, from.user],
      [3, 'replaced', true, from.user],
      [2, 'replaced', false, from.user],
      [1, 'replaced', false, from.user],
    ],
  );
  const refs = await to.inRepository(name, 'for-each-ref', '--format=%(refname) %(*objectname)%(objectname)');
  const tag = (await tree.git('rev-parse', 'v1.0')).stdout;
  assert.deepEqual(refs.split('\n'), [
    `refs/heads/main ${live}`,
    `refs/releases/v1 ${one}`,
    `refs/releases/v2 ${one}`,
    `refs/releases/v3 ${live}`,
    `refs/releases/v5 ${live}`,
    `refs/tags/v1.0 ${one}${tag}`,
  ]);
  assert.match((await to.command('config', 'get', name, 'SECRET')).stdout, /s3cret/);
  assert.match((await to.command('schedule', 'list', name)).stdout, /nightly .* paused/);
  const [scaled] = JSON.parse((await to.command('scale', name, '--json')).stdout);
  assert.equal(scaled.running, 2);
  assert.match((await to.local('limit', name)).stdout, /builds +77/);
  assert.match((await to.command('rollback', name, 'v1')).stderr, /the build of v1 has been deleted/i);
  const told =
    JSON.stringify([from.lines, to.lines]) + (await readFile(join(to.folder, 'data/audit.log'), 'utf8'));
  assert.match(told, /tool import/);
  assert.doesNotMatch(told, /s3cret|correct horse/);
});

test('threat 82: if the server is killed before it has made the tags of an imported tool, the next start makes them, and a push to the tool goes live', async () => {
  await to.kill();
  const transfers = join(to.folder, 'data/transfers/import-killed');
  const tag = await to.inRepository('moved', 'rev-parse', 'refs/tags/v1.0');
  await to.inRepository('moved', 'update-ref', '-d', 'refs/tags/v1.0');
  await noteTags(transfers, { tool: 'moved', tags: [{ ref: 'refs/tags/v1.0', id: tag.trim() }] });
  const whole = await to.local('doctor');
  assert.match(whole.stdout, /is whole/);
  await to.boot();
  await until(async () => (await to.get('moved')).body === 'two', 'up again');
  const tree = await WorkTree.create(to, 'ssh', 'moved');
  passed(await tree.git('pull', '--quiet', '--tags', 'toolforge', 'main'));
  assert.equal((await tree.git('rev-parse', 'v1.0^{}')).stdout, first);
  await tree.commit('three', webTool('three'));
  passed(await tree.push());
  assert.equal((await to.get('moved')).body, 'three');
  passed(await to.command('rollback', 'moved'));
  await until(async () => (await to.get('moved')).body === 'two', 'the rollback');
});

test('an import into a tool that has deployments is refused, and so is an import while all tools are frozen', async () => {
  const before = await stateOf(to);
  assert.match(
    (await importing(exported)).stderr,
    /the tool moved has deployments on this server already[\s\S]*--as/i,
  );
  passed(await to.local('freeze', '--all', 'the disks move'));
  assert.match((await importing(exported, '--as', 'hello')).stderr, /all tools are frozen: the disks move/i);
  passed(await to.local('unfreeze', '--all'));
  assert.equal((await importing(exported, '--as', 'x..y')).exitCode, 2);
  assert.equal(await stateOf(to), before);
});

test('if an imported tool cannot be deployed on the other server, its history is there, nothing is live, and a later push makes it live', async () => {
  const name = 'needy';
  await from.addTool(name);
  const whole = await WorkTree.create(from, 'ssh', name);
  await whole.commit('before', webTool('before'));
  const start = await whole.commit('one', webTool('needy'));
  const tree = await WorkTree.create(from, 'ssh', name);
  // The history on the server ends at `start`.
  passed(await tree.git('pull', '--quiet', '--depth=1', `file://${whole.folder}`, 'main'));
  passed(await tree.push());
  await tree.commit('refused here', {
    ...webTool('needy'),
    'app.json': '{"env":{"TOKEN":{"description":"a token"}}}',
  });
  passed(await from.command('config', 'set', name, 'TOKEN=1'));
  passed(await tree.push());
  passed(await from.command('config', 'unset', '--no-restart', name, 'TOKEN'));
  const file = join(folder, 'needy.tar');
  passed(await from.local('tool', 'export', name, file, ...given, join(folder, 'passphrase')));
  const there = 'needy-there';
  await to.addTool(there);
  const imported = await importing(file, '--as', there);
  assert.equal(imported.exitCode, 1, imported.stdout);
  assert.match(imported.stderr, /the history of needy-there is here, but nothing of it is live: .*TOKEN/i);
  assert.equal(await to.inRepository(there, 'for-each-ref', 'refs/heads'), '');
  assert.equal(JSON.parse((await to.command('releases', there, '--json')).stdout).length, 3);
  // git may write a commit twice.
  const shallow = await readFile(join(to.folder, `data/repositories/${there}.git/shallow`), 'utf8');
  assert.deepEqual(new Set(shallow.trimEnd().split('\n')), new Set([start]));
  // As if the server had been killed after it had entered the history, and before it had made the refs.
  await to.kill();
  await to.inRepository(there, 'update-ref', '-d', 'refs/releases/v3');
  assert.match((await to.local('doctor')).stdout, /is whole/);
  await to.boot();
  passed(await to.command('config', 'set', there, 'TOKEN=2'));
  const clone = await WorkTree.create(to, 'ssh', there);
  passed(await clone.git('fetch', '--update-shallow', 'toolforge', 'refs/releases/*:refs/releases/*'));
  passed(await clone.git('push', 'toolforge', 'releases/v3^{}:refs/heads/main'));
  assert.equal((await to.get(there)).body, 'needy');
});

/** Unpacks the exported file, changes its parts, and seals it again as somebody who knows the passphrase could. */
async function forged(
  change: (part: (name: string) => string, manifest: Record<string, unknown>) => Promise<void>,
  {
    names = ['manifest.json', 'secrets.sealed', 'repository.pack'],
    passphrase = PASSPHRASE,
    configVars = { SECRET: 's3cret' } as Record<string, string>,
  } = {},
): Promise<string> {
  const stage = await mkdtemp(join(folder, 'forged-'));
  await execa('tar', ['-xf', exported, '-C', stage]);
  const part = (name: string) => join(stage, name);
  const manifest = JSON.parse(await readFile(part('manifest.json'), 'utf8'));
  await change(part, manifest);
  const bytes = Buffer.from(JSON.stringify(manifest));
  await writeFile(part('manifest.json'), bytes);
  const secrets = JSON.stringify({ configVars });
  if (passphrase !== '') await writeFile(part('secrets.sealed'), await sealText(secrets, bytes, passphrase));
  return await sealed(stage, names);
}

async function sealed(stage: string, names: readonly string[]): Promise<string> {
  const [plain, file] = [join(stage, 'plain'), join(stage, 'file.tar')];
  await execa('tar', ['-cPf', plain, '-C', stage, ...names]);
  await pipeline(
    createReadStream(plain),
    new Sealing('tool', async () => undefined),
    createWriteStream(file),
  );
  return file;
}

/** As `forged`, for a file whose manifest is refused before anything is decrypted. */
async function unsealed(change: Parameters<typeof forged>[0]): Promise<string> {
  return await forged(change, { passphrase: '' });
}

test('threat 101: an import does not give a tool limits above those of the server, but prints the command that does, and it starts no more processes than the server allows', async () => {
  const limits = { replicas: 1000, memory: 2 ** 50, builds: 7, repository: 2 ** 40 };
  const file = await forged(set({ replicas: { web: 9 }, limits }));
  const name = 'greedy';
  await to.addTool(name);
  passed(await to.local('limit', name, 'repository=64Mi'));
  const imported = await importing(file, '--as', name);
  passed(imported);
  assert.match(imported.stdout, /greedy has the limits of the other server: builds 7\. /);
  assert.match(
    imported.stdout,
    /higher limits on the other server[^\n]* limit greedy memory=1048576Mi replicas=1000 repository=1048576Mi\n/,
  );
  const shown = JSON.parse((await to.local('limit', name, '--json')).stdout);
  assert.deepEqual(
    shown.map((one: { name: string; value: number; isOwn: boolean }) => [one.name, one.value, one.isOwn]),
    [
      ['memory', 512 * 2 ** 20, false],
      ['builds', 7, true],
      ['replicas', 4, false],
      ['repository', 64 * 2 ** 20, true],
    ],
  );
  const [web] = JSON.parse((await to.command('scale', name, '--json')).stdout);
  assert.equal(web.running, 4);
  passed(await to.local('limit', name, 'memory=1048576Mi', 'replicas=1000', 'repository=1048576Mi'));
});

/** Changes fields of the manifest. */
function set(fields: Record<string, unknown>) {
  return async (_: unknown, manifest: Record<string, unknown>) => void Object.assign(manifest, fields);
}

/** Replaces the pack of the export by `pack`, with its size and checksum in the manifest. */
async function withPack(
  part: (name: string) => string,
  manifest: Record<string, unknown>,
  pack: Buffer,
): Promise<void> {
  await writeFile(part('repository.pack'), pack);
  manifest['pack'] = { bytes: pack.length, sha256: createHash('sha256').update(pack).digest('hex') };
}

test('an import of a torn, changed or newer file, with a wrong passphrase, hostile git objects or invalid config vars is refused, and changes nothing', async () => {
  const place = await mkdtemp(join(folder, 'place-'));
  const run = join(place, 'run');
  await mkdir(run);
  const store = new SqliteStore(place, new SecretsKey(Buffer.alloc(32, 1)));
  const repositories = new Repositories({
    folder: join(place, 'repositories'),
    path: process.env['PATH'] ?? '',
    deployBranch: 'main',
  });
  const GIB = 2 ** 30;
  const options = {
    ...{ store, repositories, run, log: pino({ enabled: false }) },
    limits: { memory: GIB, builds: 9, replicas: 9, repository: GIB },
    room: { assertRoom: async () => {} },
  };
  const taking = async (file: string, passphrase = PASSPHRASE) =>
    await importTool(
      options,
      {
        ...{ passphrase, as: null, by: 'operator', bytes: createReadStream(file) },
        assertKnown: async () => {},
      },
      new AbortController().signal,
    );
  const bytes = await readFile(exported);
  const changed = Buffer.from(bytes);
  changed[5000] = (changed[5000] ?? 0) ^ 1;
  const written = async (content: Buffer) => {
    const file = join(await mkdtemp(join(folder, 'bad-')), 'bad.tar');
    await writeFile(file, content);
    return file;
  };
  const backup = join(folder, 'backup.tar');
  passed(await from.local('backup', backup));
  const evil = await mkdtemp(join(folder, 'evil-'));
  const git = async (input: Buffer | string, ...words: string[]) =>
    await execa('git', ['-C', evil, ...words], { input, encoding: 'buffer', stripFinalNewline: false });
  await git('', 'init', '--quiet');
  const blob = String.fromCharCode(...(await git('x', 'hash-object', '-w', '--stdin')).stdout).trim();
  const tree = Buffer.concat([Buffer.from('100644 ../escape\0'), Buffer.from(blob, 'hex')]);
  const treeId = Buffer.from(
    (await git(tree, 'hash-object', '-w', '-t', 'tree', '--literally', '--stdin')).stdout,
  )
    .toString()
    .trim();
  const commitText = `tree ${treeId}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nevil\n`;
  const commit = Buffer.from((await git(commitText, 'hash-object', '-w', '-t', 'commit', '--stdin')).stdout)
    .toString()
    .trim();
  const pack = Buffer.from((await git(`${commit}\n`, 'pack-objects', '--revs', '--stdout', '-q')).stdout);
  const cut = Buffer.from((await git(`${commit}\n`, 'pack-objects', '--stdout', '-q')).stdout);
  const asLive = (manifest: Record<string, unknown>) => {
    manifest['tags'] = [];
    manifest['releases'] = (manifest['releases'] as { commit: string }[]).map((one) => ({ ...one, commit }));
  };
  const withVars = async (configVars: Record<string, string>) => await forged(async () => {}, { configVars });
  const numbered = (count: number, value: string) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`V${index}`, value]));
  const kilobytes = 'x'.repeat(32 * 1024);
  const cases: [string, string, RegExp][] = [
    ['many config vars', await withVars(numbered(201, 'value')), /more than 200 config vars/],
    ['a long config var', await withVars({ V: `${kilobytes}x` }), /the value of V is longer/],
    ['long config vars', await withVars(numbered(17, kilobytes)), /the config vars together are longer/],
    ['a reserved config var', await withVars({ LD_AUDIT: '/workspace/x.so' }), /LD_AUDIT is reserved/],
    ['a NUL byte', await withVars({ V: 'a\0--bind\0/\0/host' }), /the value of V holds a NUL byte/],
    ['torn', await written(bytes.subarray(0, -700)), /its end is missing/],
    ['changed', await written(changed), /its checksum differs/],
    ['nothing', await written(Buffer.alloc(20_480)), /it is no archive of toolforge-push/],
    ['a backup', backup, /an archive of the kind backup/],
    [
      'changed and sealed again',
      await forged(set({ tool: 'other' }), { passphrase: '' }),
      /somebody has changed the file/,
    ],
    [
      'another passphrase',
      await forged(async () => {}, { passphrase: 'somebody else’s phrase' }),
      /the passphrase is wrong, or somebody has changed the file/i,
    ],
    ['newer', await unsealed(set({ format: 2 })), /a later version of this server made it/],
    ['an odd manifest', await unsealed(set({ more: 1 })), /no manifest that this server can read/],
    ['an odd version', await forged(set({ live: 99 })), /lacks the live commit/],
    [
      'a control character',
      await unsealed(
        async (_, m) => void Object.assign((m['releases'] as object[])[0] ?? {}, { by: 'a\u001b[2J' }),
      ),
      /no manifest that this server can read/,
    ],
    [
      'a tag that leaves the repository',
      await unsealed(set({ tags: [{ ref: 'refs/tags/../../../x', id: first }] })),
      /no manifest that this server can read/,
    ],
    [
      'too many releases',
      await unsealed(
        async (part, m) =>
          await set({ releases: Array(1001).fill((m['releases'] as unknown[])[0]) })(part, m),
      ),
      /no manifest that this server can read/,
    ],
    [
      'a part outside',
      await forged(async (part) => void (await writeFile(part('../escape'), 'x')), {
        names: ['manifest.json', 'secrets.sealed', '../escape'],
      }),
      /it has no repository\.pack/,
    ],
    [
      'one part more',
      await forged(async (part) => void (await writeFile(part('more'), 'x')), {
        names: ['manifest.json', 'secrets.sealed', 'repository.pack', 'more'],
      }),
      /more files than an export/,
    ],
    [
      'other objects than the manifest says',
      await forged(async (part) => void (await writeFile(part('repository.pack'), pack))),
      /the checksum of its repository|the size of its repository/,
    ],
    [
      'a tree that leaves the folder',
      await forged(async (part, m) => {
        asLive(m);
        await withPack(part, m, pack);
      }),
      /git refuses its repository/,
    ],
    [
      'objects that lack others',
      await forged(async (part, m) => {
        asLive(m);
        await withPack(part, m, cut);
      }),
      /git refuses its repository|is not whole/,
    ],
    [
      'no pack',
      await forged(async (part, m) => await withPack(part, m, Buffer.from('no pack at all'))),
      /git refuses its repository/,
    ],
  ];
  for (const [what, file, says] of cases) {
    await assert.rejects(taking(file), { message: says }, what);
    assert.deepEqual([store.tools(), await repositories.tools(), await readdir(run)], [[], [], []], what);
  }
  await assert.rejects(taking(exported, 'another long passphrase'), { code: 'BAD_PASSPHRASE' });
  assert.equal((await taking(exported)).manifest.live, 3);
  assert.deepEqual(
    store.releases('moved' as ToolName, 9).map(({ version }) => version),
    [4, 3, 2, 1],
  );
  store.close();
});

test('an export refuses a short or missing passphrase, an unknown or empty tool, and a file that exists or is in the data folder', async () => {
  const [file, short] = [join(folder, 'new.tar'), join(folder, 'short')];
  await writeFile(short, 'short\n');
  for (const [words, says] of [
    [['moved', file, ...given, short], /the passphrase has 5 characters/i],
    [['unheard-of', file, ...given, join(folder, 'passphrase')], /there is no tool unheard-of/i],
    [['hello', file, ...given, join(folder, 'passphrase')], /has no releases and no config vars/],
    [['moved', exported, ...given, join(folder, 'passphrase')], /moved\.tar exists already/],
    [
      ['moved', join(from.folder, 'data/x.tar'), ...given, join(folder, 'passphrase')],
      /would be in the data folder/,
    ],
    [['moved', file, ...given, join(folder, 'none')], /cannot be read \(ENOENT\)/],
  ] as const) {
    const refused = await from.local('tool', 'export', ...words);
    assert.equal(refused.exitCode, 1, refused.stdout);
    assert.match(refused.stderr, says);
  }
  const names = await readdir(folder);
  assert.deepEqual(
    names.filter((name) => name.startsWith('new.tar')),
    [],
  );
});

test('a passphrase that is typed at a terminal is not shown, and is typed twice for a new file', async () => {
  const file = join(folder, 'typed.tar');
  const typing = async (...lines: string[]) => {
    const command = [process.execPath, 'src/cli/bin.ts', 'tool', 'export', 'moved', file].join(' ');
    const child = execa('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      ...{ env: from.environment, extendEnv: false, reject: false },
    });
    let seen = '';
    child.stdout.on('data', (chunk: Buffer) => {
      seen += chunk;
    });
    for (const [index, line] of lines.entries()) {
      await until(async () => seen.match(/Passphrase( again)?: /g)?.length === index + 1, 'the question');
      child.stdin.write(`${line}\r`);
    }
    const { exitCode } = await child;
    return { exitCode, seen };
  };
  const other = await typing(PASSPHRASE, 'correct horse');
  assert.match(other.seen, /The two passphrases differ/);
  const empty = await typing(PASSPHRASE, '');
  assert.match(empty.seen, /The two passphrases differ/);
  const same = await typing(PASSPHRASE, PASSPHRASE);
  assert.equal(same.exitCode, 0, same.seen);
  assert.match(same.seen, /Exported moved to/);
  assert.doesNotMatch(other.seen + same.seen, /horse/);
});

test('if an import cannot make a tag, the message blames a push if this tag or a conflicting tag exists by now, and otherwise git', async () => {
  const place = await mkdtemp(join(folder, 'tags-'));
  const repositories = new Repositories({
    folder: place,
    path: process.env['PATH'] ?? '',
    deployBranch: 'main',
  });
  const tool = 'tagged' as ToolName;
  await repositories.ensure(tool);
  const id = await repositories.git(tool, ['hash-object', '-w', '--stdin'], { input: 'x' });
  const errors: unknown[] = [];
  const log = pino({}, { write: (line: string) => void errors.push(JSON.parse(line)) });
  const store = async (ref: string, object: string) => {
    const manifest = { pack: {}, releases: [], tags: [{ ref, id: object }] } as unknown as ToolManifest;
    return await makeRefs(repositories, { tool, manifest, held: new Set(), id: '1', log });
  };
  assert.equal(await store('refs/tags/v1', '1'.repeat(40)), 'git failed');
  assert.equal(errors.length, 1);
  assert.equal(await store('refs/tags/v1', id), null);
  assert.equal(await store('refs/tags/v1', id), 'pushed meanwhile');
  assert.equal(await store('refs/tags/v1/a', id), 'pushed meanwhile');
  assert.equal(errors.length, 1);
});
