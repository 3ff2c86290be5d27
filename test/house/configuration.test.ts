import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { readConfig, unknownSettings } from '../../src/config.ts';
import { DeployError } from '../../src/core/errors.ts';
import { sentence } from '../../src/core/text/sentence.ts';
import { configurationPage } from '../../src/install/configuration-page.ts';

const folder = mkdtempSync(join(tmpdir(), 'configuration-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test('docs/configuration.md equals the output of `npm run docs`', async () => {
  const page = await readFile(resolve(import.meta.dirname, '../../docs/configuration.md'), 'utf8');
  assert.equal(page, configurationPage());
});

test('the default of every setting is valid', () => {
  const config = readConfig({});
  assert.deepEqual(config.ssh, { host: '127.0.0.1', port: 2222 });
  assert.equal(config.build_time, 900_000);
  assert.equal(config.pack_size, 512 * 1024 * 1024);
});

for (const { name, environment, expected } of [
  {
    name: 'an address without a port',
    environment: { TOOLFORGE_PUSH_SSH: 'localhost' },
    expected: /setting ssh is "localhost".*host:port/,
  },
  {
    name: 'a number out of range',
    environment: { TOOLFORGE_PUSH_BUILD_TIME: '0' },
    expected: /setting build_time/,
  },
  {
    name: 'a word that is not one of the choices',
    environment: { TOOLFORGE_PUSH_SANDBOX: 'yes' },
    expected: /setting sandbox/,
  },
  {
    name: 'a missing configuration file',
    environment: { TOOLFORGE_PUSH_CONFIG: '/nowhere.yaml' },
    expected: /\/nowhere\.yaml does not exist/,
  },
  {
    name: 'a configuration file that is not YAML',
    environment: { TOOLFORGE_PUSH_CONFIG: file('broken.yaml', 'domain: x\nssh: [1\n') },
    expected: /broken\.yaml is not YAML in line \d/,
  },
  {
    name: 'a configuration file with an undefined alias',
    environment: { TOOLFORGE_PUSH_CONFIG: file('alias.yaml', 'domain: *name\n') },
    expected: /alias\.yaml is not YAML.*name/,
  },
  ...['http', 'sources_listen'].map((name) => ({
    name: `a port alone for ${name}`,
    environment: { TOOLFORGE_PUSH_CONFIG: file(`${name}.yaml`, `${name}: 8080\n`) },
    expected: new RegExp(`setting ${name} is 8080, but must be host:port`),
  })),
  {
    name: 'a configuration file that is a list',
    environment: { TOOLFORGE_PUSH_CONFIG: file('list.yaml', '- domain\n') },
    expected: /list\.yaml has no settings/,
  },
  ...[
    { what: 'an empty text', line: 'run_disk: ""' },
    { what: 'a space', line: 'drain_time: " "' },
    { what: 'a boolean', line: 'max_replicas: true' },
    { what: 'an empty list', line: 'run_disk: []' },
    { what: 'a number in hexadecimal', line: 'run_processes: "0x10"' },
  ].map(({ what, line }, at) => ({
    name: `${what} in place of a number`,
    environment: { TOOLFORGE_PUSH_CONFIG: file(`number-${at}.yaml`, line) },
    expected: /must be a whole number from/,
  })),
  {
    name: 'an empty text in place of a number in the environment',
    environment: { TOOLFORGE_PUSH_RUN_DISK: '' },
    expected: /setting run_disk is ""/,
  },
  ...['push.example.org:99999', 'ssh://push.example.org:22', '::1:22', 'push example.org'].map((address) => ({
    name: `the public address ${address} of SSH`,
    environment: { TOOLFORGE_PUSH_PUBLIC_SSH: address },
    expected: /setting public_ssh/,
  })),
  ...['push.example.org', 'ftp://push.example.org', 'https://', 'https://push.example.org:99999'].map(
    (url) => ({
      name: `the public address ${url} of HTTP`,
      environment: { TOOLFORGE_PUSH_PUBLIC_URL: url },
      expected: /setting public_url/,
    }),
  ),
  {
    name: 'a value with a space in a list of variables',
    environment: { TOOLFORGE_PUSH_BUILD_ENVIRONMENT: 'JAVA_OPTS=-Xmx1g -Xms2g' },
    expected: /setting build_environment.*NAME=value.*a map in the configuration file/,
  },
  {
    name: 'an annotation whose name has a space',
    environment: { TOOLFORGE_PUSH_INGRESS_ANNOTATIONS: 'cert manager/issuer=x' },
    expected: /setting ingress_annotations/,
  },
  {
    name: 'an annotation without a name after its /',
    environment: { TOOLFORGE_PUSH_INGRESS_ANNOTATIONS: 'cert-manager.io/=x' },
    expected: /ingress_annotations.*annotations such as example\.org\/name; cert-manager\.io\/ is not/,
  },
  {
    name: 'an invalid name of a Secret',
    environment: { TOOLFORGE_PUSH_INGRESS_TLS_SECRET: 'TOOL_TLS' },
    expected: /setting ingress_tls_secret.*the name of a Secret, with TOOL/,
  },
  {
    name: 'a setting with the name of a property that every object has',
    environment: { TOOLFORGE_PUSH_CONFIG: file('constructor.yaml', 'constructor: 1\n') },
    expected: /no setting constructor/,
  },
  {
    name: 'a misspelt setting',
    environment: { TOOLFORGE_PUSH_CONFIG: file('slip.yaml', 'domian: x\n') },
    expected: /no setting domian\. Did you mean domain\?/,
  },
]) {
  test(`the configuration of the server is refused as BAD_SETTING, with the reason, because of ${name}`, () => {
    assert.throws(
      () => readConfig(environment),
      (error) =>
        error instanceof DeployError &&
        error.code === 'BAD_SETTING' &&
        expected.test(`${sentence(error.message)} ${error.hint}`),
    );
  });
}

test('numbers in settings may have spaces around them, and the port of a public address is optional', () => {
  assert.equal(readConfig({ TOOLFORGE_PUSH_MAX_REPLICAS: ' 3\n' }).max_replicas, 3);
  for (const address of [
    '',
    'push.example.org',
    'push.example.org:22',
    '[2001:db8::1]:2222',
    '192.0.2.1:22',
  ]) {
    assert.equal(readConfig({ TOOLFORGE_PUSH_PUBLIC_SSH: address }).public_ssh, address);
  }
  for (const url of [
    '',
    'https://push.example.org',
    'http://[2001:db8::1]:8080/',
    'https://example.org/push',
  ]) {
    assert.equal(readConfig({ TOOLFORGE_PUSH_PUBLIC_URL: url }).public_url, url);
  }
});

test('the setting deploy_branch accepts a name of letters, digits, dots, slashes and hyphens if git accepts this name for a branch', () => {
  for (const name of [
    'main',
    'v1.0',
    'live/main',
    'a..b',
    'a.lock',
    'a.lock/b',
    'a/',
    'a//b',
    'a/.b',
    'a.',
    'HEAD',
  ]) {
    const isBranch = spawnSync('git', ['check-ref-format', `refs/heads/${name}`]).status === 0;
    const read = () => readConfig({ TOOLFORGE_PUSH_DEPLOY_BRANCH: name });
    if (isBranch) assert.equal(read().deploy_branch, name);
    else assert.throws(read, /setting deploy_branch/);
  }
});

test('an empty build_environment counts as not set: builds get the proxy of the server’s own environment', () => {
  const environment = { HTTPS_PROXY: 'http://proxy', TOOLFORGE_PUSH_BUILD_ENVIRONMENT: '' };
  assert.deepEqual(readConfig(environment).build_environment, { HTTPS_PROXY: 'http://proxy' });
});

test('a proxy in the server’s own environment reaches builds; NODE_OPTIONS and other variables do not', () => {
  const config = readConfig({ HTTPS_PROXY: 'http://proxy', SECRET: 'x', NODE_OPTIONS: '--inspect' });
  assert.deepEqual(config.build_environment, { HTTPS_PROXY: 'http://proxy' });
});

test('an unknown TOOLFORGE_PUSH_ variable is reported with the setting that was probably meant', () => {
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
