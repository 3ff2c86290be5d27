import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { RegistryLogin } from '../../../src/builder/kubernetes/images/registry-login.ts';
import { repositoriesOf } from '../../../src/builder/kubernetes/job/build-names.ts';
import { Harbor } from '../../../src/builder/registry/harbor.ts';
import { tool } from '../support/build-request.ts';
import { failsWith } from '../support/with-builder.ts';
import { AHarbor } from './a-harbor.ts';

const MIB = 1024 * 1024;
const signal = AbortSignal.timeout(60_000);
const clientOf = (harbor: AHarbor, projectBytes = 1024 * MIB) =>
  new Harbor({ url: harbor.url, credentials: harbor.credentials, projectBytes, timeoutMs: 500 });

/** Writes a harbor_password_file as an operator does. Its first line is the password. */
async function passwordFile(harbor: AHarbor): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'harbor-')), 'password');
  await writeFile(path, `${harbor.credentials.password}\n`);
  return path;
}

function loginWith(url: string, password: string | null, secret = 'of-the-operator'): RegistryLogin {
  const config = {
    registry_secret: secret,
    harbor_url: url,
    harbor_user: 'robot$push',
    harbor_password_file: password,
    harbor_project_size: 1024 * MIB,
  };
  return new RegistryLogin(config, pino({ level: 'silent' }));
}

test('a missing Harbor project of a tool is made once, with the quota of harbor_project_size', async () => {
  await using harbor = await AHarbor.open();
  const client = clientOf(harbor);
  const id = await client.ensureProject('tool-wc', signal);
  assert.equal(await client.ensureProject('tool-wc', signal), id);
  assert.deepEqual(harbor.projects.get('tool-wc'), { id, hard: 1024 * MIB, used: 0 });
  assert.equal(harbor.asked.filter((line) => line === 'POST /projects').length, 1);
});

test('a Harbor project that somebody else makes at the same time is used', async () => {
  await using harbor = await AHarbor.open();
  const client = clientOf(harbor);
  const ids = await Promise.all([client.ensureProject('p', signal), client.ensureProject('p', signal)]);
  assert.equal(ids[0], ids[1]);
});

test('threat 70: if a tool’s Harbor quota is nearly full, a build is refused, and the error names the used and allowed size', async () => {
  await using harbor = await AHarbor.open();
  const client = clientOf(harbor);
  const id = await client.ensureProject('tool-wc', signal);
  await client.assertRoom('tool-wc', id, signal);
  const project = harbor.projects.get('tool-wc');
  assert.ok(project !== undefined);
  project.used = 1010 * MIB;
  await assert.rejects(
    client.assertRoom('tool-wc', id, signal),
    failsWith('REGISTRY_FULL', /tool-wc take 1010 MiB of their quota of 1024 MiB/),
  );
});

test('a build starts if its Harbor project has no quota, or a quota that the server cannot read', async () => {
  await using harbor = await AHarbor.open();
  const client = clientOf(harbor, -1);
  const id = await client.ensureProject('tool-wc', signal);
  await client.assertRoom('tool-wc', id, signal);
  harbor.mayReadQuotas = false;
  await client.assertRoom('tool-wc', id, signal);
});

test('each build gets its own Harbor account, which has rights only in the Harbor project of its tool and is deleted after the build', async () => {
  await using harbor = await AHarbor.open();
  const repositories = repositoriesOf('harbor.example.org', tool('wc'));
  {
    await using login = await loginWith(harbor.url, await passwordFile(harbor)).open(
      repositories,
      'one',
      signal,
    );
    assert.equal(login.secret, '');
    const { auths } = JSON.parse(login.dockerConfig ?? '{}');
    assert.equal(
      Buffer.from(auths['harbor.example.org'].auth, 'base64').toString(),
      'robot$tool-wc+build-one:secret-of-the-robot',
    );
    const [robot] = [...harbor.robots.values()];
    assert.equal(robot?.['level'], 'project');
    assert.deepEqual(robot?.['permissions'], [
      {
        kind: 'project',
        namespace: 'tool-wc',
        access: ['push', 'pull', 'list'].map((action) => ({ resource: 'repository', action })),
      },
    ]);
  }
  assert.equal(harbor.robots.size, 0);
});

test('a Harbor account that cannot be deleted after its build does not fail the build', async () => {
  await using harbor = await AHarbor.open();
  const repositories = repositoriesOf('harbor.example.org', tool('wc'));
  const login = await loginWith(harbor.url, await passwordFile(harbor)).open(repositories, 'one', signal);
  harbor.always = 500;
  await login[Symbol.asyncDispose]();
  assert.equal(harbor.robots.size, 1);
});

test('the Harbor project of a preview has a valid name, and is deleted with the repositories in it; a project that tools share is not deleted', async () => {
  await using harbor = await AHarbor.open();
  const login = loginWith(harbor.url, await passwordFile(harbor));
  const own = repositoriesOf('harbor.example.org', tool('fix--wc'), true);
  await login.removeProject(own, signal);
  const { [Symbol.asyncDispose]: end } = await login.open(own, 'one', signal);
  await end();
  harbor.repositories.set(own.project, new Set([own.project, 'cache']));
  await login.removeProject(own, signal);
  assert.deepEqual([...harbor.projects.keys()], []);
  const shared = repositoriesOf('harbor.example.org/tool', tool('fix--wc'), true);
  await using _login = await login.open(shared, 'two', signal);
  await login.removeProject(shared, signal);
  assert.deepEqual([...harbor.projects.keys()], ['tool']);
});

test('without Harbor, a build logs in with the operator’s Secret, or does not log in without such a Secret', async () => {
  const repositories = repositoriesOf('registry.example.org', tool('wc'));
  await using one = await loginWith('', null, 'pusher').open(repositories, 'a', signal);
  assert.deepEqual([one.secret, one.dockerConfig], ['pusher', null]);
  await using other = await loginWith('', null, '').open(repositories, 'a', signal);
  assert.equal(other.secret, null);
});

for (const [status, code] of [
  [500, 'REGISTRY_UNAVAILABLE'],
  [401, 'REGISTRY_REFUSED'],
  [400, 'REGISTRY_REFUSED'],
] as const) {
  test(`if Harbor answers ${status}, the error names this status but does not repeat Harbor’s text`, async () => {
    await using harbor = await AHarbor.open();
    harbor.always = status;
    await assert.rejects(
      clientOf(harbor).ensureProject('tool-wc', signal),
      (error: Error) =>
        failsWith(code, new RegExp(`tool-wc \\(${status}\\)`))(error) && !/as the test/.test(error.message),
    );
  });
}

test('if Harbor cannot be reached, the error names the cause, such as ECONNREFUSED', async () => {
  const harbor = await AHarbor.open();
  const client = clientOf(harbor);
  await harbor[Symbol.asyncDispose]();
  await assert.rejects(
    client.ensureProject('tool-wc', signal),
    failsWith('REGISTRY_UNAVAILABLE', /ECONNREFUSED/),
  );
});
