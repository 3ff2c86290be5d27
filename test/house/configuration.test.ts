import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { readConfig, unknownSettings } from '../../src/config.ts';
import { configurationPage } from '../../src/configuration-page.ts';
import { DeployError } from '../../src/core/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'configuration-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test('docs/configuration.md is what `npm run docs` makes of the settings', async () => {
  const page = await readFile(resolve(import.meta.dirname, '../../docs/configuration.md'), 'utf8');
  assert.equal(page, configurationPage());
});

test('all settings have a default that is right', () => {
  const config = readConfig({});
  assert.deepEqual(config.ssh, { host: '127.0.0.1', port: 2222 });
  assert.equal(config.build_time, 900_000);
  assert.equal(config.pack_size, 512 * 1024 * 1024);
});

for (const { name, environment, expected } of [
  {
    name: 'a port that is none',
    environment: { TOOLFORGE_PUSH_SSH: 'localhost' },
    expected: /setting ssh is "localhost".*host:port/,
  },
  {
    name: 'a number out of range',
    environment: { TOOLFORGE_PUSH_BUILD_TIME: '0' },
    expected: /setting build_time/,
  },
  {
    name: 'a word that is no choice',
    environment: { TOOLFORGE_PUSH_SANDBOX: 'yes' },
    expected: /setting sandbox/,
  },
  {
    name: 'a file that is not there',
    environment: { TOOLFORGE_PUSH_CONFIG: '/nowhere.yaml' },
    expected: /\/nowhere\.yaml is not there/,
  },
  {
    name: 'a file that is no YAML',
    environment: { TOOLFORGE_PUSH_CONFIG: file('broken.yaml', 'domain: x\nssh: [1\n') },
    expected: /broken\.yaml is not YAML in line \d/,
  },
  {
    name: 'a file that is a list',
    environment: { TOOLFORGE_PUSH_CONFIG: file('list.yaml', '- domain\n') },
    expected: /list\.yaml holds no settings/,
  },
  {
    name: 'a slip in the file',
    environment: { TOOLFORGE_PUSH_CONFIG: file('slip.yaml', 'domian: x\n') },
    expected: /no setting domian\. Did you mean domain\?/,
  },
]) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => readConfig(environment),
      (error) =>
        error instanceof DeployError &&
        error.code === 'BAD_SETTING' &&
        expected.test(`${error.message} ${error.hint}`),
    );
  });
}

test('only proxies, certificates and indexes of the server’s own environment reach builds', () => {
  const config = readConfig({ HTTPS_PROXY: 'http://proxy', SECRET: 'x', NODE_OPTIONS: '--inspect' });
  assert.deepEqual(config.build_environment, { HTTPS_PROXY: 'http://proxy' });
});

test('an unknown name in the environment is told with what may have been meant', () => {
  const names = {
    TOOLFORGE_PUSH_DOMIAN: 'x',
    TOOLFORGE_PUSH_PORT_80_TCP_ADDR: 'y',
    TOOLFORGE_PUSH_DOMAIN: 'z',
  };
  assert.deepEqual(unknownSettings(names), [
    'TOOLFORGE_PUSH_DOMIAN (meant: TOOLFORGE_PUSH_DOMAIN?)',
    'TOOLFORGE_PUSH_PORT_80_TCP_ADDR',
  ]);
});
