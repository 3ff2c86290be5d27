import assert from 'node:assert/strict';
import { access, readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { test } from 'node:test';

const source = resolve(import.meta.dirname, '../../src');

/**
 * Reads from the table of docs/architecture.md which rooms (`core/`) and single files each room may import. The line
 * below the table lists the files of the sandbox that two other rooms share.
 */
async function rooms(): Promise<Map<string, string[]>> {
  const page = await readFile(resolve(source, '../docs/architecture.md'), 'utf8');
  const paths = (text: string) =>
    Array.from(text.matchAll(/`([^`]+)`/g), ([, path = '']) => path.replace(/\/$/, ''));
  const line = /^The shared files of the sandbox, for `builder\/` and `run\/`: (.+?)\.\n\n/ms.exec(page);
  const shared = paths(line?.[1] ?? '');
  const rows = page.matchAll(/^\| (`[-a-z/`, ]+`) +\| [^|]+ \| ([^|]+) \|$/gm);
  return new Map(
    Array.from(rows).flatMap(([, names = '', allowed = '']) =>
      paths(names).map((room): [string, string[]] => [
        room,
        [...paths(allowed), ...(allowed.includes('shared files') ? shared : [])],
      ]),
    ),
  );
}

/** Packages that only some files may import. Each pattern matches the paths, in src, of the files that may. */
const fences: Readonly<Record<string, RegExp>> = {
  ssh2: /^ssh\//,
  'node-git-server': /^http\/git\/served-repository\.ts$/,
  chalk: /^core\/progress\.ts$/,
  pino: /^core\/log\/log\.ts$/,
  croner: /^core\/schedule\.ts$/,
  httpxy: /^run\//,
  'tar-stream': /^cli\/control\/folder-archive\.ts$/,
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

test('each folder of src imports only what docs/architecture.md allows', async () => {
  const rules = await rooms();
  const folders = (await readdir(source, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  assert.deepEqual([...rules.keys()].sort(), folders.map(({ name }) => name).sort());
  const wrong = (await imports()).flatMap(({ file, target }) => {
    const allowed = rules.get(file.split('/')[0] ?? '');
    if (allowed === undefined || !target.startsWith('.')) return [];
    const path = join(file, '..', target);
    const isAllowed =
      path.startsWith(`${file.split('/')[0]}/`) ||
      allowed.some((room) => path === room || path.startsWith(`${room}/`));
    return isAllowed ? [] : [`${file} → ${path}`];
  });
  assert.deepEqual(wrong, []);
});

test('the TypeScript files that docs/architecture.md and CONTRIBUTING.md name exist', async () => {
  const root = resolve(source, '..');
  for (const page of ['docs/architecture.md', 'CONTRIBUTING.md']) {
    const text = await readFile(join(root, page), 'utf8');
    for (const [path] of text.matchAll(/\b(?:src|test)\/[a-z][-a-z/]*(?:\.test)?\.ts\b/g))
      await access(join(root, path));
  }
});

test('each package that only some files of src may import, such as ssh2, is imported only by these files', async () => {
  const wrong = (await imports()).filter(({ file, target }) => {
    const wall = fences[target];
    return wall !== undefined && !wall.test(file);
  });
  assert.deepEqual(wrong, []);
});

test('no two files in src have the same name', async () => {
  const files = (await readdir(source, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const same = Object.values(Object.groupBy(files, (file) => basename(file))).filter(
    (group) => (group?.length ?? 0) > 1,
  );
  assert.deepEqual(same, []);
});

test('in src, only the entry points, install/ and process-environment.ts use process.env or process.exit', async () => {
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
