import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const source = resolve(import.meta.dirname, '../../src');

/** Of the sandbox, what builds and runs have in common. */
const ofSandbox = [
  'sandbox/build-mode.ts',
  'sandbox/disk/disk-pace.ts',
  'sandbox/disk/disk-use.ts',
  'sandbox/disk/hidden-disk-use.ts',
  'sandbox/process/argument-limits.ts',
  'sandbox/disk/remove-tree.ts',
  'sandbox/sandbox.ts',
] as const;

/** Who may import whom: rooms, or single files of them where only the interface is meant. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  core: [],
  kubernetes: ['core', 'config.ts'],
  settings: [],
  auth: ['core', 'config.ts'],
  sandbox: ['core', 'config.ts'],
  store: ['core', 'config.ts'],
  git: ['core', 'deploy/deployments.ts'],
  builder: ['core', 'config.ts', 'kubernetes', ...ofSandbox],
  run: ['core', 'config.ts', 'kubernetes', ...ofSandbox],
  deploy: ['core', 'git', 'store/store.ts', 'builder/builder.ts', 'run/runtime.ts'],
  recovery: [
    'core',
    'config.ts',
    'first-start.ts',
    'settings/account.ts',
    'sandbox/disk/remove-tree.ts',
    'auth',
    'git',
    'store',
    'deploy/reconciliation/read-back-releases.ts',
  ],
  cli: [
    'core',
    'config.ts',
    'auth',
    'deploy/deployments.ts',
    'deploy/release/live-release.ts',
    'run/runtime.ts',
    'store/store.ts',
    'store/audit-file.ts',
    'recovery',
    'main.ts',
  ],
  'local-socket': ['core', 'git'],
  ssh: ['core', 'config.ts', 'auth', 'git', 'cli', 'run/runtime.ts'],
  http: ['core', 'config.ts', 'auth', 'git', 'cli', 'web', 'run/runtime.ts'],
  web: ['core', 'http/answer.ts'],
};

/** Packages that live behind one wall each. */
const fences: Readonly<Record<string, RegExp>> = {
  ssh2: /^(ssh\/|auth\/public-key\.ts$)/,
  'node-git-server': /^http\/git\/served-repository\.ts$/,
  chalk: /^core\/progress\.ts$/,
  pino: /^core\/log\/log\.ts$/,
  croner: /^core\/schedule\.ts$/,
  httpxy: /^run\//,
  'node:sqlite': /^store\//,
  ldapts: /^auth\/ldap\//,
  '@kubernetes/client-node': /^(kubernetes|builder\/kubernetes|run\/kubernetes)\//,
};

async function imports(): Promise<{ file: string; target: string }[]> {
  const files = (await readdir(source, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const found = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(source, file), 'utf8');
      const targets = [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map((match) => match[1] ?? '');
      return targets.map((target) => ({ file, target }));
    }),
  );
  return found.flat();
}

test('rooms import only what they may', async () => {
  const wrong = (await imports()).flatMap(({ file, target }) => {
    const allowed = rooms[file.split('/')[0] ?? ''];
    if (allowed === undefined || !target.startsWith('.')) return [];
    const path = join(file, '..', target);
    const isAllowed =
      path.startsWith(`${file.split('/')[0]}/`) ||
      allowed.some((room) => path === room || path.startsWith(`${room}/`));
    return isAllowed ? [] : [`${file} → ${path}`];
  });
  assert.deepEqual(wrong, []);
});

test('packages stay behind their walls', async () => {
  const wrong = (await imports()).filter(({ file, target }) => {
    const wall = fences[target];
    return wall !== undefined && !wall.test(file);
  });
  assert.deepEqual(wrong, []);
});

test('no file is longer than 400 lines', async () => {
  const files = (await readdir(source, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const lengths = await Promise.all(
    files.map(
      async (file) => [file, (await readFile(join(source, file), 'utf8')).split('\n').length - 1] as const,
    ),
  );
  assert.deepEqual(
    lengths.filter(([, lines]) => lines > 400),
    [],
  );
});

test('a folder has at most 14 files, unless it is a plain collection', async () => {
  const collections = ['cli/commands', 'store/migrations'];
  const counts = new Map<string, number>();
  for (const entry of await readdir(source, { recursive: true, withFileTypes: true })) {
    const folder = relative(source, entry.parentPath);
    if (entry.isFile()) counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  const large = [...counts].filter(([folder, count]) => count > 14 && !collections.includes(folder));
  assert.deepEqual(large, []);
});

test('no two files have the same name', async () => {
  const files = (await readdir(source, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const same = Object.values(Object.groupBy(files, (file) => basename(file))).filter(
    (group) => (group?.length ?? 0) > 1,
  );
  assert.deepEqual(same, []);
});

test('only config.ts and the ways in read the environment, and only they exit', async () => {
  const files = (await readdir(source, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const ways = /^(main|demo)\.ts$|^cli\/(bin|health)\.ts$|^install\/|^http\/git\/process-environment\.ts$/;
  const found = await Promise.all(
    files.map(
      async (file) =>
        [file, /process\.(env|exit)\b/.test(await readFile(join(source, file), 'utf8'))] as const,
    ),
  );
  assert.deepEqual(
    found.filter(([file, reads]) => reads && !ways.test(file)).map(([file]) => file),
    [],
  );
});
