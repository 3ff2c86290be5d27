import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { configurationPage } from '../../src/configuration-page.ts';
import { DeployError } from '../../src/core/errors.ts';

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
    expected: /\/nowhere\.yaml/,
  },
]) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => readConfig(environment),
      (error) => error instanceof DeployError && error.code === 'BAD_SETTING' && expected.test(error.message),
    );
  });
}

test('only proxies, certificates and indexes of the server’s own environment reach builds', () => {
  const config = readConfig({ HTTPS_PROXY: 'http://proxy', SECRET: 'x', NODE_OPTIONS: '--inspect' });
  assert.deepEqual(config.build_environment, { HTTPS_PROXY: 'http://proxy' });
});
