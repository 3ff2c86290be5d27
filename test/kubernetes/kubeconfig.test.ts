import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { DeployError } from '../../src/core/errors.ts';
import { connectCluster } from '../../src/kubernetes/cluster.ts';
import { assertCredentials } from '../../src/kubernetes/cluster-credentials.ts';
import { kubeconfigFor } from './fake-api.ts';

const good = JSON.parse(kubeconfigFor('https://api.example.org')) as Record<string, unknown>;
const changed = (change: Record<string, unknown>) => JSON.stringify({ ...good, ...change });

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'toolforge-push-kubeconfig-'));
});
after(() => rm(folder, { recursive: true }));

async function file(text: string, name = 'config'): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  return path;
}

/** Returns the error that `connect` throws, which must be BAD_CLUSTER with a hint that says what to check. */
async function refusal(connect: () => unknown): Promise<DeployError> {
  try {
    await connect();
  } catch (error) {
    assert.ok(error instanceof DeployError, String(error));
    assert.equal(error.code, 'BAD_CLUSTER');
    assert.match(error.hint, /^See that .*\.$/);
    return error;
  }
  assert.fail('it was taken');
}

describe('a bad kubeconfig is reported at the start, and never becomes localhost', () => {
  for (const { name, text, context = '', message } of [
    { name: 'empty', text: '', message: /^the kubeconfig is empty$/ },
    { name: 'comments alone', text: '# nothing\n', message: /^the kubeconfig is empty$/ },
    {
      name: 'not YAML',
      text: 'users:\n- name: a\n  user: {token: hunter2\n',
      message: /^the kubeconfig is not YAML in line \d+$/,
    },
    { name: 'a single word', text: 'hello', message: /has no current context/ },
    { name: 'no context of that name', text: changed({}), context: 'prod', message: /has no context prod/ },
    {
      name: 'no current context',
      text: changed({ 'current-context': undefined }),
      message: /has no current context/,
    },
    {
      name: 'a context without a cluster',
      text: changed({ contexts: [{ name: 'fake', context: { user: 'someone' } }] }),
      message: /is not complete: contexts\[0\]\.context\.cluster is missing/,
    },
    {
      name: 'a context whose user does not exist',
      text: changed({ users: [] }),
      message: /^the context fake names a user that does not exist$/,
    },
  ]) {
    test(`a bad kubeconfig is reported, and the error shows no token: ${name}`, async () => {
      const kubeconfig = await file(text);
      const error = await refusal(() => connectCluster({ context, kubeconfig }));
      assert.match(error.message, message);
      assert.doesNotMatch(`${error.message} ${error.hint}`, /hunter2/);
    });
  }

  test('if the kubeconfig cannot be read, the error names the file and the reason', async () => {
    const error = await refusal(() => connectCluster({ context: '', kubeconfig: folder }));
    assert.match(error.message, /cannot be read \(EISDIR\)/);
    const missing = await refusal(() => connectCluster({ context: '', kubeconfig: '/nowhere/config' }));
    assert.match(missing.message, /^the kubeconfig \/nowhere\/config cannot be read \(ENOENT\)$/);
  });

  test('without HOME and KUBECONFIG, the error says that there is no Kubernetes configuration', async () => {
    const script = `
      const { connectCluster } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/kubernetes/cluster.ts'))});
      try { connectCluster({ context: '', root: '/nowhere' }); } catch ({ code, message }) { console.log(code, message); }`;
    const options = { env: { PATH: '/usr/bin:/bin' }, extendEnv: false };
    const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', script], options);
    assert.equal(stdout, 'BAD_CLUSTER there is no Kubernetes configuration');
  });
});

describe('in a pod', () => {
  const names = ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'] as const;
  const account = 'var/run/secrets/kubernetes.io/serviceaccount';
  let root: string;
  before(async () => {
    root = join(folder, 'pod');
    for (const [name, text] of Object.entries({ token: 't', 'ca.crt': 'c', namespace: 'n' }))
      await file(text, join('pod', account, name));
  });
  after(() => {
    for (const name of names) delete process.env[name];
  });

  test('in a pod, the server uses its service account by default, with the address that Kubernetes sets', () => {
    Object.assign(process.env, { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' });
    const { name, kubeConfig } = connectCluster({ context: '', root });
    assert.equal(name, 'in-cluster');
    assert.equal(kubeConfig.getCurrentCluster()?.server, 'https://[fd00::1]:443');
  });

  test('in a pod, a missing address of the API server is reported', async () => {
    for (const name of names) delete process.env[name];
    const error = await refusal(() => connectCluster({ context: '', root }));
    assert.match(error.message, /no address of the API server/);
  });

  test('in a pod, a kubeconfig in the settings wins over the service account', async () => {
    const kubeconfig = await file(changed({}));
    assert.equal(connectCluster({ context: '', root, kubeconfig }).name, 'fake');
  });
});

describe('bad credentials are reported at the start', () => {
  const withUser = async (user: Record<string, unknown>) => {
    const kubeconfig = await file(changed({ users: [{ name: 'someone', user }] }));
    return connectCluster({ context: '', kubeconfig }).kubeConfig;
  };
  /** Makes a client certificate that is valid from one day to another. @returns its path. */
  const certificate = async (from: string, to: string): Promise<string> => {
    const path = join(folder, 'client.pem');
    const [key, request] = [join(folder, 'client.key'), join(folder, 'client.csr')];
    const subject = ['-newkey', 'ed25519', '-nodes', '-subj', '/CN=someone'];
    await execa('openssl', ['req', ...subject, '-keyout', key, '-out', request]);
    const authority = [
      ...[
        '[ca]',
        'default_ca = a',
        '[a]',
        `new_certs_dir = ${folder}`,
        `database = ${join(folder, 'index')}`,
      ],
      ...['rand_serial = yes', 'unique_subject = no', 'default_md = default', 'policy = p'],
      ...['[p]', 'commonName = supplied'],
    ];
    const config = await file(authority.join('\n'), 'ca.cnf');
    await file('', 'index');
    await execa('openssl', [
      ...['ca', '-batch', '-selfsign', '-notext', '-config', config, '-keyfile', key, '-in', request],
      ...['-out', path, '-startdate', `${from}000000Z`, '-enddate', `${to}000000Z`],
    ]);
    return path;
  };

  test('at the start, a client certificate that has expired is reported', async () => {
    const path = await certificate('20200101', '20210203');
    const user = { 'client-certificate': path, 'client-key': join(folder, 'client.key') };
    const { message } = await refusal(async () => assertCredentials(await withUser(user)));
    assert.equal(message, 'the client certificate of someone in the kubeconfig expired on 2021-02-03');
  });

  test('at the start, a client certificate that is not valid yet is reported', async () => {
    const path = await certificate('29900101', '29910101');
    const user = { 'client-certificate': path, 'client-key': join(folder, 'client.key') };
    const { message } = await refusal(async () => assertCredentials(await withUser(user)));
    assert.match(message, /is valid from 2990-01-01 on/);
  });

  test('at the start, a client certificate that is not PEM or does not exist is reported', async () => {
    const data = Buffer.from('hello').toString('base64');
    const none = await refusal(async () =>
      assertCredentials(await withUser({ 'client-certificate-data': data })),
    );
    assert.match(none.message, /certificate of someone in the kubeconfig is not valid/);
    const missing = await refusal(async () =>
      assertCredentials(await withUser({ 'client-certificate': '/nowhere.pem' })),
    );
    assert.match(missing.message, /^the file \/nowhere\.pem with credentials .* cannot be read \(ENOENT\)$/);
  });

  test('at the start, a client key that does not exist is reported', async () => {
    const path = await certificate('20200101', '29910101');
    const user = { 'client-certificate': path, 'client-key': '/nowhere.key' };
    const { message } = await refusal(async () => assertCredentials(await withUser(user)));
    assert.match(message, /^the file \/nowhere\.key with credentials/);
  });

  const plugin = (command: string, args: readonly string[] = []) => ({
    exec: { apiVersion: 'client.authentication.k8s.io/v1', command, args, interactiveMode: 'Never' },
  });

  test('the server does not start if the kubeconfig’s program for credentials is not installed, and the error names the program', async () => {
    for (const command of ['no-such-plugin', '/nowhere/plugin']) {
      const { message } = await refusal(async () => assertCredentials(await withUser(plugin(command))));
      assert.match(message, new RegExp(`^the program ${command}, which .* cannot be run \\(ENOENT\\)`));
    }
  });

  test('the server starts even if the kubeconfig’s program for credentials fails, and also if the program gives a token', async () => {
    await assertCredentials(await withUser(plugin('false')));
    const token = { kind: 'ExecCredential', status: { token: 't' } };
    await assertCredentials(await withUser(plugin('echo', [JSON.stringify(token)])));
  });

  test('at the start, a kubeconfig with a token or a valid certificate is accepted', async () => {
    await assertCredentials(await withUser({ token: 't' }));
    const path = await certificate('20200101', '29910101');
    await assertCredentials(
      await withUser({ 'client-certificate': path, 'client-key': join(folder, 'client.key') }),
    );
  });
});
