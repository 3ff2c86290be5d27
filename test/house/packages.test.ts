import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { run } from '../support/server.ts';

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
  readonly bin?: Readonly<Record<string, string>>;
}

const root = resolve(import.meta.dirname, '../..');
const read = async (name: string) => JSON.parse(await readFile(join(root, name), 'utf8'));
const { allowScripts, dependencies, devDependencies, optionalDependencies } = await read('package.json');
const lock = (await read('package-lock.json')) as { packages: Record<string, Locked> };
const locked = Object.entries(lock.packages).filter(([path]) => path !== '');

test('supply chain: the lock file has a SHA-512 hash of every package, and package.json names exact versions', () => {
  assert.ok(locked.length > 100);
  assert.deepEqual(
    locked.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path),
    [],
  );
  const versions = Object.values<string>({ ...dependencies, ...devDependencies, ...optionalDependencies });
  assert.deepEqual(
    versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version)),
    [],
  );
});

test('supply chain: package.json forbids the install script of every locked package that has one', () => {
  const scripts = locked.filter(([, { hasInstallScript }]) => hasInstallScript);
  assert.ok(scripts.length > 0);
  for (const [path] of scripts) {
    const name = path.replace(/^.*node_modules\//, '');
    assert.equal(allowScripts[name], false, name);
  }
});

test('supply chain: the Node that runs the server is a locked package, and is installed without running any script', async () => {
  const nodes = locked.filter(([, { bin }]) => bin?.['node'] !== undefined);
  assert.ok(nodes.some(([path]) => path.endsWith(`/node-${process.platform}-${process.arch}`)));
  await using folder = await temporaryFolder();
  for (const name of ['package.json', 'package-lock.json', '.npmrc'])
    await copyFile(join(root, name), join(folder.path, name));
  const words = ['ci', '--ignore-scripts', '--omit=dev', '--prefer-offline', '--prefix', folder.path];
  const installed = await run('npm', words);
  assert.equal(installed.exitCode, 0, installed.stderr);
  const { stdout } = await run(join(folder.path, 'node_modules/.bin/node'), ['--version']);
  assert.deepEqual(new Set(nodes.map(([, { version }]) => `v${version}`)), new Set([stdout]));
});

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'packages-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}
