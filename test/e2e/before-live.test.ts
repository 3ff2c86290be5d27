import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { run, TestServer, until } from '../support/server.ts';
import { type Files, liveTool, WorkTree, webTool } from '../support/work-tree.ts';

let server: TestServer;
let replicaFolder: string;
let varsFolder: string;
before(async () => {
  replicaFolder = await mkdtemp(join(tmpdir(), 'replica-'));
  varsFolder = await mkdtemp(join(tmpdir(), 'config-vars-'));
  server = await TestServer.start({
    TOOLFORGE_PUSH_HEALTH_TIME: '20',
    TOOLFORGE_PUSH_PREVIEWS: '2',
    TOOLFORGE_PUSH_REPLICA_FOLDER: replicaFolder,
    TOOLFORGE_PUSH_CONFIG_VARS_FOLDER: varsFolder,
  });
});
after(async () => {
  await server[Symbol.asyncDispose]();
  await rm(replicaFolder, { recursive: true });
  await rm(varsFolder, { recursive: true });
});

/** Everything of a tool that a push could change: files with their sizes, refs, and the lists of its commands. */
async function stateOf(name: string): Promise<object> {
  const data = join(server.folder, 'data');
  const folders = [`repositories/${name}.git`, `artifacts/${name}`, `cache/${name}`, `deployments/${name}`];
  const files = await Promise.all(folders.map((folder) => sizes(join(data, folder))));
  const lists = ['deployments', 'builds', 'releases', 'ps'].map(async (list) =>
    (await server.command(list, name, '--json')).stdout.replace(/"(startedAt|memory)":[^,]*/g, ''),
  );
  return {
    files,
    refs: await server.inRepository(name, 'for-each-ref'),
    lists: await Promise.all(lists),
  };
}

/** Waits until the server has deleted the old artifacts of the last push. @returns the state of the tool after that. */
async function settledState(name: string): Promise<object> {
  let before = {};
  return await until(async () => {
    const now = await stateOf(name);
    const isSettled = isDeepStrictEqual(now, before);
    before = now;
    return isSettled && now;
  }, 'the end of the work after a push');
}

async function sizes(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return await Promise.all(files.sort().map(async (file) => `${file} ${(await stat(file)).size}`));
}

const dryRun = (tree: WorkTree, ...args: string[]) =>
  tree.push('-o', 'dry-run', ...(args.length === 0 ? ['toolforge', 'main'] : args));

for (const door of ['ssh', 'http'] as const) {
  test(`over ${door}, a dry run of a first push exits with 0 and stores nothing, and the push then goes live`, async () => {
    const name = `first-${door}`;
    await server.addTool(name);
    const tree = await WorkTree.create(server, door, name);
    await tree.commit('Say hello', webTool('hello'));
    await tree.git('fetch', '--quiet', 'toolforge');
    const before = await stateOf(name);
    const tried = await dryRun(tree);
    assert.equal(tried.exitCode, 0, tried.stderr);
    assert.match(tried.stderr, /Push from .*"Say hello"/);
    assert.match(tried.stderr, /builds with .*starts web: python3 server\.py/);
    assert.match(tried.stderr, /builds in the last 24 hours: 0 of \d+/);
    assert.match(tried.stderr, /processes: web 0 → 1/);
    assert.match(tried.stderr, /Dry run: this push would pass/);
    assert.match(tried.stderr, /main -> refs\/dry-run\/main/);
    assert.notEqual((await tree.git('rev-parse', '--verify', '--quiet', 'toolforge/main')).exitCode, 0);
    assert.deepEqual(await stateOf(name), before);
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  });
}

test('a dry run says by name which processes, schedules and config vars would change, without their values', async () => {
  const { name, tree, first } = await liveTool(server, 'changing');
  const set = await server.command('config', 'set', name, 'API_KEY=very-secret-value');
  assert.equal(set.exitCode, 0, set.stderr);
  await tree.commit('two', {
    Procfile: 'web: python3 server.py --key very-secret-value\nworker: sleep 100\nrelease: true\n',
    'app.json': JSON.stringify({
      formation: { worker: { quantity: 1 } },
      env: { GREETING: { value: 'hi' } },
    }),
    'jobs.yaml': '- name: nightly\n  command: "true"\n  schedule: "@daily"\n',
  });
  const before = await stateOf(name);
  const tried = await dryRun(tree);
  assert.equal(tried.exitCode, 0, tried.stderr);
  assert.match(tried.stderr, /processes: worker 0 → 1/);
  assert.match(tried.stderr, /schedules: nightly added \(@daily\)/);
  assert.match(tried.stderr, /config vars: GREETING added/);
  assert.match(tried.stderr, /the release command would run before the rollout/);
  assert.doesNotMatch(tried.stderr, /very-secret-value/);
  assert.equal((await tree.git('rev-parse', 'toolforge/main')).stdout, first);
  assert.deepEqual(await stateOf(name), before);
});

/** A commit that is pushed first as a dry run and then for real. */
interface Case {
  readonly title: string;
  /** True if the push passes all checks before its build. In these tests, the build then succeeds too. */
  readonly passes: boolean;
  readonly make: (tree: WorkTree) => Promise<unknown>;
  readonly args?: string[];
}

const commitOf = (title: string, passes: boolean, files: Readonly<Record<string, string>>): Case => ({
  title,
  passes,
  make: (tree) => tree.commit(title, files),
});

const CASES: readonly Case[] = [
  commitOf('a broken toolforge.yaml', false, { 'toolforge.yaml': 'components: [\n' }),
  commitOf('conflict marks', false, { Procfile: '<<<<<<< HEAD\nweb: a\n=======\n>>>>>>> b\n' }),
  commitOf('a config var that is not set', false, {
    'app.json': JSON.stringify({ env: { API_KEY: { description: 'a key' } } }),
  }),
  commitOf('app.json that is no JSON', true, { 'app.json': '{"env": ' }),
  commitOf('a schedule with the minute 61', false, {
    'jobs.yaml': '- name: nightly\n  command: "true"\n  schedule: "61 * * * *"\n',
  }),
  commitOf('a project.toml that is no TOML', true, { 'project.toml': '[build\n' }),
  {
    title: 'a tag object',
    passes: false,
    make: (tree) => tree.git('tag', '--force', '-a', 'one', '-m', 'one'),
    args: ['toolforge', 'refs/tags/one:refs/heads/main'],
  },
  {
    title: 'another branch',
    passes: false,
    make: (tree) => tree.git('branch', '--force', 'other'),
    args: ['toolforge', 'other'],
  },
  { title: 'the deletion of main', passes: false, make: async () => {}, args: ['toolforge', ':main'] },
  {
    title: 'no buildpack',
    passes: false,
    make: async (tree) => {
      await tree.git('rm', '--quiet', '-r', '.');
      return await tree.commit('nothing', { 'notes.xyz': 'nothing to build\n' });
    },
  },
  commitOf('a Procfile with a comment', true, { Procfile: '# the server\n\nweb: python3 server.py\n' }),
  commitOf('one more file', true, { 'README.md': 'hello\n' }),
  commitOf('a config var with a default', true, {
    'app.json': JSON.stringify({ env: { API_KEY: { value: 'a' }, SECRET: { generator: 'secret' } } }),
  }),
  commitOf('a config var that is optional', true, {
    'app.json': JSON.stringify({ env: { API_KEY: { required: false } } }),
  }),
  commitOf('a release command and a schedule', true, {
    Procfile: 'web: python3 server.py\nrelease: echo releasing\n',
    'jobs.yaml': '- name: nightly\n  command: "true"\n  schedule: "@daily"\n',
  }),
  commitOf('a worker that runs', true, {
    Procfile: 'web: python3 server.py\nworker: sleep 100\n',
    'app.json': JSON.stringify({ formation: { worker: { quantity: 1 } } }),
  }),
  commitOf('an empty commit', true, {}),
  {
    title: 'a removed file',
    passes: true,
    make: async (tree) => {
      await tree.git('rm', '--quiet', 'LICENSE');
      return await tree.commit('without licence', {});
    },
  },
  {
    title: 'a history that was written anew',
    passes: true,
    make: async (tree) => {
      await tree.git('commit', '--quiet', '--amend', '--message', 'another one');
    },
  },
  {
    title: 'a merge of two branches',
    passes: true,
    make: async (tree) => {
      await tree.git('checkout', '--quiet', '-b', 'side');
      await tree.commit('side', { 'side.txt': 'side\n' });
      await tree.git('checkout', '--quiet', '-');
      await tree.commit('main', { 'main.txt': 'main\n' });
      await tree.git('merge', '--quiet', '--no-ff', '-m', 'both', 'side');
    },
  },
];

test('for each of twenty pushes, a dry run passes if the push passes, fails with the same reason if the push fails, and stores nothing', async () => {
  const { name, tree, first } = await liveTool(server, 'twenty');
  const reasonOf = (text: string) =>
    /\[remote rejected\] [^(]*\((?:dry run: )?(.*?)(?:; v\d+ is still live)?\)/.exec(text)?.[1];
  assert.equal(CASES.length, 20);
  for (const { title, passes, make, args = ['toolforge', 'HEAD:main'] } of CASES) {
    await tree.git('checkout', '--quiet', '-B', 'work', first);
    await make(tree);
    // Every case starts from the first commit, not from the commit that an earlier case made live. So git needs
    // --force.
    const forced = ['--force', ...args];
    const before = await settledState(name);
    const tried = await dryRun(tree, ...forced);
    assert.deepEqual(await stateOf(name), before, title);
    assert.equal(tried.exitCode === 0, passes, `${title}: ${tried.stderr}`);
    const pushed = await tree.push(...forced);
    assert.equal(pushed.exitCode === 0, passes, `${title}: ${pushed.stderr}`);
    if (passes) continue;
    const reason = reasonOf(pushed.stderr)?.replace(/^build failed: /, '');
    assert.ok(reason);
    assert.equal(reasonOf(tried.stderr), reason, `${title}: ${tried.stderr}\n${pushed.stderr}`);
  }
});

test('if the test command of app.json fails, the push fails with its error and the live release stays', async () => {
  const { name, tree, first } = await liveTool(server, 'tested');
  await server.command('config', 'set', name, 'MODE=strict');
  const appJson = JSON.stringify({ environments: { test: { scripts: { test: './check.sh' } } } });
  const files = {
    'app.json': appJson,
    Procfile: 'web: python3 server.py\ntest: exit 9\nrelease: echo releasing\n',
  };
  await tree.commit('two', { ...files, 'check.sh': '#!/bin/sh\necho "mode $MODE"\nls server.py\nexit 3\n' });
  const failed = await tree.push();
  assert.notEqual(failed.exitCode, 0);
  assert.match(failed.stderr, /mode \[config var MODE\]/);
  assert.match(failed.stderr, /\(test failed: the test command exited with code 3.*; v2 is still live\)/);
  assert.doesNotMatch(failed.stderr, /Running the release command/);
  assert.equal(await server.inRepository(name, 'rev-parse', 'main'), first);
  await tree.commit('three', { 'check.sh': '#!/bin/sh\necho all well\n' });
  const passed = await tree.push();
  assert.equal(passed.exitCode, 0, passed.stderr);
  assert.match(passed.stderr, /Running the test command[\s\S]*all well[\s\S]*Running the release command/);
});

test('a dry run of a commit with a file .env warns that the file may have secrets', async () => {
  const { name, tree } = await liveTool(server, 'leaky');
  assert.doesNotMatch((await dryRun(tree)).stderr, /has the file \.env/);
  await tree.commit('two', { '.env': 'API_KEY=s3cret\n' });
  const tried = await dryRun(tree);
  assert.match(
    tried.stderr,
    new RegExp(`has the file \\.env\\. If the file has secrets, .*\`config import ${name}\``),
  );
});

test('without a test command in app.json, the line `test:` of a Procfile does not run before a release', async () => {
  const { tree } = await liveTool(server, 'untested');
  await tree.commit('two', { Procfile: 'web: python3 server.py\ntest: exit 9\n' });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.doesNotMatch(pushed.stderr, /test command/);
});

test('the command `promote` releases the artifact and the commit of one tool on another tool, with the config vars of that other tool', async () => {
  const { name: beta, tree, first } = await liveTool(server, 'bot-beta', webTool('from beta'));
  await server.command('config', 'set', beta, 'OF_BETA=1');
  await server.addTool('bot');
  await server.command('config', 'set', 'bot', 'OF_BOT=1');
  const promoted = await server.command('promote', beta, 'bot');
  assert.equal(promoted.exitCode, 0, promoted.stdout + promoted.stderr);
  assert.match(promoted.stdout, /v1 is live/);
  assert.doesNotMatch(promoted.stdout, /Detecting buildpacks/);
  assert.deepEqual(await server.get('bot'), { status: 200, body: 'from beta' });
  assert.equal(await server.inRepository('bot', 'rev-parse', 'main'), first);
  assert.equal(await server.inRepository('bot', 'for-each-ref', 'refs/deployments'), '');
  const [release] = JSON.parse((await server.command('releases', 'bot', '--json')).stdout);
  assert.deepEqual(release.configVars, ['OF_BOT']);
  assert.equal(release.description, `Promote v2 of ${beta}`);
  assert.match((await server.command('releases', beta)).stdout, /promoted: bot v1/);
  // The next push to the target tool builds upon the promoted commit.
  await tree.git('remote', 'add', 'bot', server.remote('ssh', 'bot'));
  await tree.commit('two', webTool('two'));
  const pushed = await tree.push('bot', 'main');
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  // The target tool has its own copy of the artifact, so a rollback to it works.
  assert.equal((await server.command('rollback', 'bot', 'v1')).exitCode, 0);
  assert.deepEqual(await server.get('bot'), { status: 200, body: 'from beta' });
});

test('without --force, the command `promote` is refused if the promoted commit does not contain the commit that is live on the target tool', async () => {
  const { name: source, first } = await liveTool(server, 'source', webTool('source'));
  const { name: target, first: other } = await liveTool(server, 'target', webTool('target'));
  const refused = await server.command('promote', source, target);
  assert.equal(refused.exitCode, 1);
  assert.match(refused.stderr, /does not contain the commit .* which is live on target as v1/);
  assert.equal(await server.inRepository(target, 'rev-parse', 'main'), other);
  const changed = await server.command('promote', source, target, '--force', '--version', 'v5');
  assert.match(changed.stderr, /v1 is live on source, not v5/);
  assert.equal(await server.inRepository(target, 'rev-parse', 'main'), other);
  const forced = await server.command('promote', source, target, '--force', '--version', 'v1');
  assert.equal(forced.exitCode, 0, forced.stderr);
  assert.equal(await server.inRepository(target, 'rev-parse', 'main'), first);
  assert.deepEqual(await server.get(target), { status: 200, body: 'source' });
  const foreign = await server.command('promote', source, 'somebody-elses');
  assert.equal(foreign.exitCode, 1);
  assert.match(foreign.stderr, /there is no tool somebody-elses/i);
});

/** A web tool that answers with `word`, the values of SECRET and LOCALE, and the password of its database. */
function tellingTool(word: string): Files {
  const files = webTool(word);
  const body = `' '.join(['${word}'] + [os.environ.get(name, '-') for name in ('SECRET', 'LOCALE', 'TOOL_REPLICA_PASSWORD')])`;
  return { ...files, 'server.py': (files['server.py'] ?? '').replace(JSON.stringify(word), body) };
}

const bodyOf = async (tool: string) => (await server.get(tool)).body;

/** The names in the data folder that belong to a tool. */
async function foldersOf(tool: string): Promise<string[]> {
  const data = join(server.folder, 'data');
  const folders = ['artifacts', 'cache', 'deployments', 'logs', 'releases', 'repositories'];
  const names = await Promise.all(folders.map((folder) => readdir(join(data, folder)).catch(() => [])));
  return names.flat().filter((name) => name === tool || name === `${tool}.git`);
}

test('threat 99: a preview has releases, config vars and an address of its own, gets only shared config vars of its tool, and leaves nothing when it ends', async () => {
  const name = 'shop';
  await mkdir(join(replicaFolder, name));
  await writeFile(join(replicaFolder, name, 'replica.my.cnf'), '[client]\nuser=u\npassword=pw\n');
  const { tree, first } = await liveTool(server, name, tellingTool('one'));
  await server.command('config', 'set', name, 'SECRET=top', 'LOCALE=de');
  const shared = await server.command('config', 'share', name, 'LOCALE');
  assert.match(shared.stdout, /New previews of shop get the values of: LOCALE/);
  assert.match((await server.command('config', 'share', name, 'NONE')).stderr, /no config var NONE/);
  const releases = (await server.command('releases', name, '--json')).stdout;
  const second = await tree.commit('two', tellingTool('two'));
  const made = await tree.push('toolforge', 'HEAD:preview/fix');
  assert.equal(made.exitCode, 0, made.stderr);
  assert.match(made.stderr, /a preview of shop, with its own config vars \(fix--shop\)/);
  assert.match(made.stderr, /v1 is live at http:\/\/fix--shop\.localhost:\d+\//);
  assert.match(made.stderr, /\[new branch\] +HEAD -> preview\/fix/);
  assert.equal(await bodyOf('fix--shop'), 'two - de -');
  assert.equal(await bodyOf(name), 'one top de pw');
  assert.match((await server.command('previews', name)).stdout, /^fix +v1 +\S.* http:\/\/fix--shop\./m);

  await tree.commit('three', { ...tellingTool('three'), 'build.sh': 'exit 3\n' });
  const failed = await tree.push('toolforge', 'HEAD:preview/fix');
  assert.notEqual(failed.exitCode, 0);
  assert.match(
    failed.stderr,
    /remote rejected.*\(build failed: .*v1 of the preview fix--shop is still live\)/,
  );
  assert.equal(await bodyOf('fix--shop'), 'two - de -');
  await tree.commit('three', { ...tellingTool('three'), Procfile: 'web: exit 7\n' });
  const crashed = await tree.push('toolforge', 'HEAD:preview/fix');
  assert.match(
    crashed.stderr,
    /remote rejected.*\(rollout failed: .*v1 of the preview fix--shop is still live\)/,
  );
  assert.equal(await server.inRepository(name, 'rev-parse', 'preview/fix'), second);

  const late = await server.command('config', 'share', name, 'SECRET');
  assert.match(
    late.stdout,
    /Existing previews keep their config vars\. To change a config var of a preview: .*config set fix--shop NAME=value/,
  );
  assert.equal((await server.command('config', 'unshare', name, 'SECRET')).exitCode, 0);
  const set = await server.command('config', 'set', 'fix--shop', 'SECRET=own');
  assert.equal(set.exitCode, 0, set.stderr);
  assert.equal(await bodyOf('fix--shop'), 'two own de -');
  assert.equal(await bodyOf(name), 'one top de pw');
  assert.equal((await server.command('releases', name, '--json')).stdout, releases);
  assert.equal(await server.inRepository(name, 'rev-parse', 'main'), first);

  const direct = await tree.push(server.remote('ssh', 'fix--shop'), 'HEAD:main');
  assert.match(direct.stderr, /fix--shop is a preview of shop; push to the repository of shop/);
  const detached = await server.command('run', '--detach', 'fix--shop', 'sleep', '98761');
  assert.equal(detached.exitCode, 0, detached.stderr);

  const ended = await tree.push('toolforge', ':preview/fix');
  assert.equal(ended.exitCode, 0, ended.stderr);
  assert.match(ended.stderr, /The preview has ended/);
  assert.match(ended.stderr, /\[deleted\] +preview\/fix/);
  assert.deepEqual(await foldersOf('fix--shop'), []);
  assert.equal((await run('pgrep', ['-f', 'sleep 98761'])).stdout, '');
  assert.equal((await server.get('fix--shop')).status, 404);
  assert.equal(await server.inRepository(name, 'for-each-ref', 'refs/heads/preview'), '');
  assert.match((await server.command('previews', name)).stdout, /shop has no previews/);
  assert.match((await server.command('config', 'list', 'fix--shop')).stderr, /there is no tool fix--shop/i);
  assert.equal(await bodyOf(name), 'one top de pw');
  assert.equal((await server.command('releases', name, '--json')).stdout, releases);
});

test('a dry run of a push to a preview says what the push would do, and makes and changes no preview', async () => {
  const { name, tree, first: start } = await liveTool(server, 'trial', tellingTool('one'));
  await server.command('config', 'set', name, 'SECRET=very-secret-value', 'LOCALE=very-local-value');
  await server.command('config', 'share', name, 'LOCALE');
  const state = async (preview: string) => {
    const store = new DatabaseSync(join(server.folder, 'data/store.sqlite'), { readOnly: true });
    const tables = ['tools', 'deployments', 'builds', 'releases', 'config_changes', 'free_numbers'];
    const rows = tables.map((table) => store.prepare(`SELECT * FROM ${table}`).all());
    store.close();
    const files = [name, preview].map((tool) =>
      Promise.all(
        ['repositories', 'artifacts', 'cache', 'deployments'].map((folder) =>
          sizes(join(server.folder, 'data', folder, folder === 'repositories' ? `${tool}.git` : tool)),
        ),
      ),
    );
    const refs = await server.inRepository(name, 'for-each-ref');
    return { rows, refs, files: await Promise.all(files), folders: await foldersOf(preview) };
  };
  /** Makes a dry run, and asserts that it changes nothing. @returns its result. */
  const nothingMoves = async (preview: string, ...args: string[]) => {
    const before = await state(preview);
    const tried = await dryRun(tree, 'toolforge', ...args);
    assert.deepEqual(await state(preview), before, tried.stderr);
    return tried;
  };
  await settledState(name);
  const reasonOf = (text: string) =>
    /\[remote rejected\] [^(]*\((?:dry run: )?(.*?)(?:; |\))/.exec(text)?.[1];

  await tree.commit('two', {
    ...tellingTool('two'),
    'app.json': JSON.stringify({ env: { API_KEY: { description: 'a key' } } }),
  });
  const lacking = await nothingMoves('x--trial', 'HEAD:preview/x');
  assert.notEqual(lacking.exitCode, 0);
  assert.match(lacking.stderr, /dry run: app\.json requires config vars that are not set: API_KEY/);
  assert.match(
    lacking.stderr,
    /makes the preview, .* with ssh -p \d+ \S+ config set x--trial NAME=value, .* previews: ssh -p \d+ \S+ config share trial NAME/,
  );
  await tree.commit('three', { ...tellingTool('three'), 'app.json': '{}' });
  const first = await nothingMoves('x--trial', 'HEAD:preview/x');
  assert.equal(first.exitCode, 0, first.stderr);
  assert.match(first.stderr, /the push would make the preview x; trial would have 1 of 2 previews/);
  assert.match(first.stderr, /Push from .*"three" → x--trial/);
  assert.match(
    first.stderr,
    /Nothing is live yet, so the rollout would replace no release[\s\S]*processes: web 0 → 1/,
  );
  assert.match(first.stderr, /config vars: LOCALE added/);
  assert.match(first.stderr, /builds in the last 24 hours: 1 of /);
  assert.match(first.stderr, /HEAD -> refs\/dry-run\/preview\/x/);
  assert.doesNotMatch(first.stderr, /very-/);

  const made = await tree.push('toolforge', 'HEAD:preview/x');
  assert.equal(made.exitCode, 0, made.stderr);
  await settledState('x--trial');
  await tree.commit('four', {
    Procfile: 'web: python3 server.py\nworker: sleep 100\n',
    'app.json': '{"formation": {"worker": {"quantity": 1}}}',
  });
  const again = await nothingMoves('x--trial', 'HEAD:preview/x');
  assert.equal(again.exitCode, 0, again.stderr);
  assert.match(again.stderr, /the push would renew the preview x; trial would have 1 of 2 previews/);
  assert.match(again.stderr, /The rollout would change v1[\s\S]*processes: worker 0 → 1/);
  await tree.git('reset', '--quiet', '--hard', start);
  await tree.commit('another history', tellingTool('other'));
  const forced = await nothingMoves('x--trial', '--force', 'HEAD:preview/x');
  assert.equal(forced.exitCode, 0, forced.stderr);

  await tree.git('rm', '--quiet', '-r', '.');
  await tree.commit('nothing', { 'notes.xyz': 'nothing\n' });
  const broken = await nothingMoves('y--trial', 'HEAD:preview/y');
  assert.notEqual(broken.exitCode, 0);
  const brokenPush = await tree.push('toolforge', 'HEAD:preview/y');
  assert.equal(reasonOf(brokenPush.stderr)?.replace(/^build failed: /, ''), reasonOf(broken.stderr));
  await settledState('y--trial');
  const crowded = await nothingMoves('z--trial', 'HEAD~:refs/heads/preview/z');
  assert.match(crowded.stderr, /dry run: the tool trial has 2 previews, and a tool can have 2 \(previews\)/);
  await server.addTool('taken--trial');
  const taken = await nothingMoves('taken--trial', 'HEAD~:refs/heads/preview/taken');
  assert.match(taken.stderr, /dry run: there is a tool with the name taken--trial/);

  // The failed preview has no branch, so git itself refuses to delete it by its short name.
  const short = await tree.push('toolforge', ':preview/y');
  assert.notEqual(short.exitCode, 0);
  assert.match(
    short.stderr,
    /preview y is not live, so it has no branch to delete.*: ssh .* previews end trial y/,
  );
  const ended = await tree.push('toolforge', ':refs/heads/preview/y');
  assert.equal(ended.exitCode, 0, ended.stderr);
  assert.match(ended.stderr, /The preview has ended/);
  assert.match(ended.stderr, /\[deleted\] +preview\/y/);
  assert.deepEqual(await foldersOf('y--trial'), []);
  const gone = await tree.push(server.remote('http', name), ':refs/heads/preview/y');
  assert.match(gone.stderr, /remote rejected.*\(there is no preview y--trial\)/);
  assert.match((await server.command('previews', name)).stdout, /^x +v1/m);
});

test('config vars from the operator’s file of a tool reach its builds and processes, count as set if app.json requires them, are masked in the push, and are not stored in the data folder', async () => {
  const name = 'outside';
  await server.addTool(name);
  const secret = `s3cret-${randomBytes(8).toString('hex')}`;
  const write = (text: string) => writeFile(join(varsFolder, `${name}.env`), text, { mode: 0o600 });
  const tree = await WorkTree.create(server, 'ssh', name);
  const files = webTool('MODE', 'echo "the build sees $API_KEY"');
  await tree.commit('one', {
    ...files,
    'server.py': (files['server.py'] ?? '').replace('"MODE"', "os.environ['MODE']"),
    Procfile: 'web: python3 server.py\nrelease: echo "the release sees $API_KEY"\n',
    'app.json': JSON.stringify({ env: { API_KEY: { description: 'the key of the API' } } }),
  });
  assert.match((await tree.push()).stderr, /requires config vars that are not set: API_KEY/);
  await write(`API_KEY=${secret}\nbroken\n`);
  const broken = await tree.push();
  assert.equal(broken.exitCode, 1);
  assert.match(
    broken.stderr,
    /The operator’s file outside\.env, .* cannot be used: line 2 is not NAME=value/,
  );
  assert.doesNotMatch(broken.stderr, /Detecting buildpacks/);
  await write(`API_KEY=${secret}\nMODE=calm\n`);
  assert.match(
    (await dryRun(tree)).stderr,
    /config vars from the operator’s file outside\.env: API_KEY, MODE/,
  );
  await server.command('config', 'set', name, 'OWN=1');
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /the build sees \[config var API_KEY\]/);
  assert.match(pushed.stderr, /the release sees \[config var API_KEY\]/);
  assert.equal((await server.get(name)).body, 'calm');
  assert.equal((await server.command('run', name, 'printenv', 'API_KEY')).stdout, secret);
  assert.equal(
    (await server.command('config', name)).stdout,
    'API_KEY (from outside)\nMODE (from outside)\nOWN',
  );

  // A change of the file has an effect from the next start of the release: after `restart`, or after a start of the
  // server.
  await write(`API_KEY=${secret}\nMODE=wild\n`);
  await server.command('restart', name);
  assert.equal((await server.get(name)).body, 'wild');
  await write(`API_KEY=${secret}\nMODE=late\n`);
  await server.kill();
  await server.boot();
  await until(async () => (await server.get(name)).body === 'late', 'the tool after a start of the server');

  const preview = await tree.push('toolforge', 'HEAD:preview/without');
  assert.match(preview.stderr, /requires config vars that are not set: API_KEY/);
  // The log of a tool keeps what its processes print, as with every config var.
  const found = await run('grep', ['-rlF', '--exclude-dir=logs', secret, join(server.folder, 'data')]);
  assert.equal(found.stdout, '');
});

test('a tool can have at most as many previews as the setting `previews` allows, and a preview with the name of an existing tool is refused', async () => {
  const { name, tree } = await liveTool(server, 'crowd');
  await server.addTool('taken--crowd');
  const taken = await tree.push('toolforge', 'HEAD:preview/taken');
  assert.match(taken.stderr, /there is a tool with the name taken--crowd/);
  const pushes = await Promise.all(
    ['a', 'b', 'c'].map((one) => tree.push('toolforge', `HEAD:preview/${one}`)),
  );
  const refused = pushes.filter(({ exitCode }) => exitCode !== 0);
  assert.equal(refused.length, 1, pushes.map(({ stderr }) => stderr).join('\n'));
  assert.match(refused[0]?.stderr ?? '', /the tool crowd has 2 previews, and a tool can have 2 \(previews\)/);
  const [preview] = JSON.parse((await server.command('previews', name, '--json')).stdout);
  const ended = await server.command('previews', 'end', name, preview.name);
  assert.match(ended.stdout, /has ended/);
  assert.match((await server.command('previews', 'end', name, 'none')).stderr, /no preview “none”/);
  await tree.commit('slow', { 'build.sh': 'sleep 98762\n' });
  const pushing = tree.push('toolforge', 'HEAD:preview/slow');
  const isBuilding = async () => (await run('pgrep', ['-f', 'sleep 98762'])).stdout !== '';
  await until(isBuilding, 'the build runs');
  assert.equal((await server.command('previews', 'end', name, 'slow')).exitCode, 0);
  assert.match((await pushing).stderr, /remote rejected.*cancelled by/);
  assert.equal(await isBuilding(), false);
  assert.deepEqual(await foldersOf('slow--crowd'), []);
});

test('a first push to a preview without required config vars is refused, but makes the preview; a live preview runs no schedules, and can be promoted', async () => {
  const { name, tree } = await liveTool(server, 'timed');
  await tree.commit('two', {
    ...webTool('two'),
    'app.json': JSON.stringify({ env: { API_KEY: { description: 'a key' } } }),
    'jobs.yaml': '- name: nightly\n  command: "true"\n  schedule: "* * * * *"\n',
  });
  const lacking = await tree.push('toolforge', 'HEAD:preview/next');
  assert.match(lacking.stderr, /config set next--timed API_KEY=…/);
  assert.match(lacking.stderr, /remote rejected.*the preview next--timed is not live yet/);
  assert.equal((await server.command('config', 'set', 'next--timed', 'API_KEY=x')).exitCode, 0);
  const made = await tree.push('toolforge', 'HEAD:preview/next');
  assert.equal(made.exitCode, 0, made.stderr);
  assert.match(made.stderr, /nightly\.1 is scheduled: \* \* \* \* \*, but paused/);
  assert.match((await server.command('schedule', 'list', 'next--timed')).stdout, /nightly .* paused/);
  const resumed = await server.command('schedule', 'resume', 'next--timed', 'nightly');
  assert.match(resumed.stderr, /schedules do not run in a preview/i);
  assert.match((await server.command('promote', 'next--timed', name)).stderr, /API_KEY/);
  await server.command('config', 'set', name, 'API_KEY=y');
  const promoted = await server.command('promote', 'next--timed', name);
  assert.equal(promoted.exitCode, 0, promoted.stderr);
  assert.equal(await bodyOf(name), 'two');
});

test('after the server was killed, its next start starts a live preview again, and ends two other previews: one whose end was interrupted, and one past its last day', async () => {
  const { name, tree } = await liveTool(server, 'restarted', webTool('main'));
  await tree.push('toolforge', 'HEAD:preview/kept', '-q');
  const other = await liveTool(server, 'other', webTool('other'));
  await other.tree.push('toolforge', 'HEAD:preview/cut');
  await other.tree.push('toolforge', 'HEAD:preview/old');
  assert.ok((await foldersOf('cut--other')).length > 3);
  await server.kill();
  const store = new DatabaseSync(join(server.folder, 'data/store.sqlite'));
  store.exec(`UPDATE tools SET is_ending = 1, live_version = NULL WHERE name = 'cut--other'`);
  store.exec(`UPDATE tools SET preview_at = 1 WHERE name = 'old--other'`);
  store.exec(`UPDATE deployments SET created_at = 1 WHERE tool = 'old--other'`);
  store.exec(`UPDATE tools SET limits = '{}' WHERE name = 'kept--restarted'`);
  store.close();
  await server.inRepository(name, 'update-ref', '-d', 'refs/heads/preview/kept');
  await server.boot();
  await until(async () => (await server.get('kept--restarted')).body === 'main', 'the preview is up');
  const left = async () => [...(await foldersOf('cut--other')), ...(await foldersOf('old--other'))];
  await until(async () => (await left()).length === 0, 'both end');
  assert.match((await server.command('previews', 'other')).stdout, /other has no previews/);
  assert.equal(await server.inRepository('other', 'for-each-ref', 'refs/heads/preview'), '');
  await until(
    async () => (await server.inRepository(name, 'rev-parse', 'preview/kept')) === (await tree.head()),
    'the branch of the preview is back',
  );
  assert.match((await server.local('limit', 'kept--restarted')).stdout, /^memory +256 MiB/m);
  assert.ok(!server.lines.some((line) => /^(the user directory|the repositor)/.test(String(line['what']))));
});

test('threat 37: `promote` is refused if the history of the promoted commit would exceed the limit of the other tool’s repository', async () => {
  const data = randomBytes(1_500_000).toString('base64');
  const { name: source } = await liveTool(server, 'heavy', { ...webTool('heavy'), 'data.txt': data });
  const { name: target, first } = await liveTool(server, 'light');
  assert.equal((await server.local('limit', target, 'repository=1Mi')).exitCode, 0);
  const refused = await server.command('promote', source, target, '--force');
  assert.equal(refused.exitCode, 1);
  assert.match(refused.stderr, /has 2 MiB, more than its limit of 1 MiB \(repository_size\)/);
  assert.equal(await server.inRepository(target, 'for-each-ref', 'refs/deployments'), '');
  assert.equal(await server.inRepository(target, 'rev-parse', 'main'), first);
  assert.deepEqual(await server.get(target), { status: 200, body: 'one' });
});
