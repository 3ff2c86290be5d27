import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Attribute, Change } from 'ldapts';
import { run, until } from '../../support/server.ts';
import { addPerson, addTool, groupDn, personDn } from '../../support/slapd/people.ts';
import { type Files, WorkTree, webTool } from '../../support/work-tree.ts';
import { Installation, namespaceOf } from './an-installation.ts';
import { kubectl } from './kubectl.ts';
import { Visitor } from './visitor.ts';

const HOME = 'toolforge-push';
const BUILDS = 'toolforge-push-builds';
const tools = ['by-key', 'by-password'] as const;
let installation: Installation;
let byKey: WorkTree;
let byPassword: WorkTree;

before(async () => {
  installation = await Installation.open(tools);
  const { slapd, user, password, publicKey } = installation;
  await addPerson(slapd, user, { keys: [publicKey], password });
  for (const tool of tools) await addTool(slapd, tool, [personDn(user)]);
  byKey = await WorkTree.create(installation, 'ssh', 'by-key');
  byPassword = await WorkTree.create(installation, 'http', 'by-password');
});
after(() => installation?.[Symbol.asyncDispose]());

// Process 1 of a container gets a signal only if it has a handler for it.
const ENDS_AT_ONCE = 'import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n';

/** A web tool that ends at once on SIGTERM. @param first - Code that its process runs before it listens. */
function politeTool(answer: string, { build = 'echo built', first = '' } = {}): Files {
  const { 'server.py': server = '', ...files } = webTool(answer, build);
  return { ...files, 'server.py': `${ENDS_AT_ONCE}${first}\n${server}` };
}

/** The commit of a tool's main on the server. */
async function mainOf(tree: WorkTree): Promise<string> {
  return (await tree.git('ls-remote', 'toolforge', 'refs/heads/main')).stdout.split('\t')[0] ?? '';
}

/** Names of objects, as `job.batch/NAME`. */
async function objects(namespace: string, kinds: string, ...words: string[]): Promise<string[]> {
  const found = await kubectl('-n', namespace, 'get', kinds, '-o', 'name', ...words);
  return found.split('\n').filter((name) => name !== '');
}

test('threat 31: a password is refused over HTTP without TLS, and a wrong password over HTTPS', async () => {
  const ask = (remote: string) => run('git', ['ls-remote', remote], { env: installation.clientEnvironment });
  const plain = await ask(installation.remote('plain http', 'by-password'));
  assert.notEqual(plain.exitCode, 0);
  assert.match(plain.stderr, /plain HTTP, where others can read the password|403/);
  const wrong = await ask(installation.remote('http', 'by-password').replace(installation.password, 'wrong'));
  assert.match(wrong.stderr, /Authentication failed/);
});

test('pushes by key over SSH and by password over HTTPS go live and answer through the ingress', async () => {
  await byKey.commit('one', {
    ...politeTool('by key'),
    Procfile: 'release: echo migrated\nweb: python3 server.py\n',
  });
  await byPassword.commit('one', politeTool('by password'));
  const [ssh, https] = await Promise.all([byKey.push(), byPassword.push()]);
  assert.equal(ssh.exitCode, 0, ssh.stderr);
  assert.match(ssh.stderr, /Push from alice \(ssh ED25519 SHA256:/);
  assert.match(ssh.stderr, /migrated[\s\S]*v1 is live/);
  assert.equal(https.exitCode, 0, https.stderr);
  assert.match(https.stderr, /Push from alice \(password\)/);
  assert.deepEqual(await installation.get('by-key'), { status: 200, body: 'by key' });
  assert.deepEqual(await installation.get('by-password'), { status: 200, body: 'by password' });
});

test('a push of a tool that crashes is refused with the tool’s output, and the old release still answers', async () => {
  const before = await byKey.head();
  await byKey.commit('broken', { 'server.py': "raise SystemExit('no database here')\n" });
  const pushed = await byKey.push();
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, /web\.1 \| no database here/);
  assert.equal((await installation.get('by-key')).body, 'by key');
  await byKey.git('reset', '--quiet', '--hard', before);
});

test('a push of a tool that listens on another port is refused, and the reason names the port', async () => {
  const before = await byKey.head();
  const { 'server.py': server = '', ...files } = politeTool('elsewhere');
  const source = server.replace("int(os.environ['PORT'])", '5000');
  assert.notEqual(source, server);
  await byKey.commit('elsewhere', { ...files, 'server.py': source });
  const { exitCode, stderr } = await byKey.push();
  assert.notEqual(exitCode, 0);
  assert.match(stderr, /web\.1 listens on port 5000, not on PORT \(8000\); waited 1\d s/);
  assert.match(stderr, /v1 is still live/);
  assert.deepEqual(await installation.get('by-key'), { status: 200, body: 'by key' });
  await byKey.git('reset', '--quiet', '--hard', before);
});

test('the commands `ps`, `logs`, `stop` and `restart` work in an installation on a cluster', async () => {
  const command = async (...words: string[]) => {
    const { exitCode, stdout, stderr } = await installation.command(...words);
    assert.equal(exitCode, 0, `${words.join(' ')}: ${stderr}`);
    return stdout + stderr;
  };
  assert.match(await command('ps', 'by-password'), /web\.1/);
  assert.match(await command('logs', 'by-key'), /migrated|no database here/);
  await command('stop', 'by-password');
  assert.notEqual((await installation.get('by-password')).status, 200);
  await command('restart', 'by-password');
  await until(async () => (await installation.get('by-password')).status === 200, 'the tool answers again');
});

test('when a release without a web process goes live, the tool’s Ingress is deleted', async () => {
  await byPassword.commit('a worker', {
    Procfile: 'worker: sleep 100000\n',
    'app.json': '{"formation": {"worker": {"quantity": 1}}}',
  });
  const pushed = await byPassword.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  await until(
    async () => (await objects(namespaceOf('by-password'), 'ingress,service')).length === 0,
    'the Ingress is gone',
  );
  const { stdout } = await installation.command('ps', 'by-password');
  assert.match(stdout, /worker\.1/);
});

test('threat 8: a person who was removed from the LDAP group of a tool can no longer fetch from or push to its repository, over SSH or HTTPS', async () => {
  const member = async (operation: 'add' | 'delete', tool: string) => {
    const modification = new Attribute({ type: 'member', values: [personDn(installation.user)] });
    const change = new Change({ operation, modification });
    await installation.slapd.edit((client) => client.modify(groupDn(tool), change));
  };
  await addPerson(installation.slapd, 'bob');
  for (const tree of [byKey, byPassword]) {
    const tool = tree === byKey ? 'by-key' : 'by-password';
    const bob = new Attribute({ type: 'member', values: [personDn('bob')] });
    const change = new Change({ operation: 'add', modification: bob });
    await installation.slapd.edit((client) => client.modify(groupDn(tool), change));
    await member('delete', tool);
    await until(async () => (await tree.git('ls-remote', 'toolforge')).exitCode !== 0, 'alice is refused');
    const pushed = await tree.push();
    assert.notEqual(pushed.exitCode, 0);
    assert.match(pushed.stderr, new RegExp(`no tool ${tool} that alice maintains`));
    await member('add', tool);
    assert.equal((await tree.git('ls-remote', 'toolforge')).exitCode, 0);
  }
});

test('if the server is killed during a build, the tool still answers, and the release goes live after the restart', async () => {
  await using visitor = new Visitor(() => installation.get('by-key'));
  const live = await mainOf(byKey);
  await byKey.commit('slow build', politeTool('two', { build: 'echo it builds; sleep 45' }));
  const pushing = byKey.push();
  const output = ['logs', '--selector=push.toolforge.org/tool=by-key', '--container=build'];
  await until(
    async () => (await run('kubectl', ['-n', BUILDS, ...output])).stdout.includes('it builds'),
    'the build runs',
    60_000,
  );
  await installation.kill();
  assert.notEqual((await pushing).exitCode, 0);
  assert.equal(await mainOf(byKey), live);
  assert.deepEqual(await visitor.others('by key'), []);
  const head = await byKey.head();
  await until(async () => (await mainOf(byKey)) === head, 'the build is live', 120_000);
  assert.equal((await installation.get('by-key')).body, 'two');
  await until(
    async () => (await objects(BUILDS, 'jobs,pods,secrets')).length === 0,
    'the build is gone',
    60_000,
  );
});

test('if the server is killed during a rollout, the tool still answers, and the rollout is removed', async () => {
  await using visitor = new Visitor(() => installation.get('by-key'));
  const live = await mainOf(byKey);
  const namespace = namespaceOf('by-key');
  // The previous release drains for a while.
  const [serving] = await until(async () => {
    const found = await objects(namespace, 'deployments');
    return found.length === 1 && found;
  }, 'one release runs');
  // Pods of the previous release may still be ending.
  const old = new Set(await objects(namespace, 'pods'));
  await byKey.commit('slow start', politeTool('three', { first: 'import time; time.sleep(120)' }));
  const pushing = byKey.push();
  await until(
    async () => {
      const running = await objects(namespace, 'pods', '--field-selector=status.phase=Running');
      return running.some((pod) => !old.has(pod));
    },
    'the new release starts',
    60_000,
  );
  await installation.kill();
  assert.notEqual((await pushing).exitCode, 0);
  assert.equal(await mainOf(byKey), live);
  const left = () => objects(namespace, 'deployments,secrets,pods');
  await until(async () => (await left()).length === 3, 'the rollout is gone', 90_000).catch(async (error) => {
    throw new Error(`${error}: ${await left()}`);
  });
  assert.deepEqual(await objects(namespace, 'deployments'), [serving]);
  assert.deepEqual(await visitor.others('two'), []);

  await byKey.commit('quick start', politeTool('three'));
  const again = await byKey.push();
  assert.equal(again.exitCode, 0, again.stderr);
  assert.equal((await installation.get('by-key')).body, 'three');
});

test('when the server’s pod is evicted, as by a drain of its node, the next pod has the same branches and host key', async () => {
  const live = await mainOf(byPassword);
  await installation.evict();
  assert.equal(await mainOf(byPassword), live);
  assert.equal((await installation.command('ps', 'by-key')).exitCode, 0, 'the host key has changed');
});

test('the server needs no more rights than the manifests give, and its log has no error for an operator', async () => {
  const log = await installation.wholeLog();
  assert.deepEqual(
    log.filter((line) => /forbidden/i.test(line)),
    [],
  );
  const failures = log.filter((line) => line.startsWith('{') && JSON.parse(line).level === 'error');
  assert.deepEqual(failures, []);
  for (const secret of [installation.password, 'reads everything']) {
    assert.ok(!log.join('\n').includes(secret), secret);
  }
  assert.deepEqual(
    log.filter((line) => /git remote add|npx toolforge-push/.test(line)),
    [],
    'the log has advice for a person at a terminal',
  );
});

test('the server’s volume contains no source of a build, and only the server can read its keys', async () => {
  const volume = join(installation.folder, 'volume');
  const sources = await readdir(join(volume, 'data'), { recursive: true });
  assert.deepEqual(
    sources.filter((path) => path.endsWith('server.py')),
    [],
  );
  const { stdout } = await run('find', [join(volume, 'keys'), '-type', 'f', '-perm', '/077']);
  assert.equal(stdout, '');
});

const asServer = '--as=system:serviceaccount:toolforge-push:toolforge-push';

test('the server may create pods only in the namespaces that the platform gave it', async () => {
  const may = async (namespace: string, what: string) =>
    (await run('kubectl', ['auth', 'can-i', 'create', what, '-n', namespace, asServer])).stdout;
  assert.equal(await may(namespaceOf('by-key'), 'pods'), 'yes');
  for (const namespace of ['default', 'kube-system', HOME]) {
    for (const what of ['pods', 'jobs.batch', 'deployments.apps', 'rolebindings.rbac.authorization.k8s.io'])
      assert.equal(await may(namespace, what), 'no', `${what} in ${namespace}`);
  }
});

test('the additions to the overlay in docs/operating.md change the manifests as described', async () => {
  const manifests = await kubectl('kustomize', installation.overlay);
  assert.match(manifests, /kubernetes.io\/metadata.name: kube-system[\s\S]*name: doors/);
  assert.match(manifests, /cidr: 10\.99\.0\.1\/32/);
  assert.doesNotMatch(manifests, /kind: ClusterRoleBinding\nmetadata:\n {2}name: toolforge-push-tools/);
  const [component = ''] = installation.page.choices("Tools' namespaces, and rights");
  const wide = await installation.kustomizeWith(component);
  assert.match(wide, /kind: ClusterRoleBinding\nmetadata:\n {2}name: toolforge-push-tools/);
  assert.match(wide, /cidr: 10\.99\.0\.1\/32/);
});

test('threat 85: a second server of the StatefulSet refuses to start, gives advice, and gets no pushes', async () => {
  await using _ = await installation.secondVolume();
  await kubectl('-n', HOME, 'scale', 'statefulset', HOME, '--replicas=2');
  const second = `${HOME}-1`;
  const refusal = await until(
    async () => {
      const { stdout } = await run('kubectl', ['-n', HOME, 'logs', second]);
      const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
      return lines.map((line) => JSON.parse(line)).find(({ code }) => code === 'NOT_FIRST') ?? false;
    },
    'the second server refuses',
    120_000,
  );
  assert.equal(refusal.level, 'error');
  assert.match(refusal.hint, /kubectl -n toolforge-push scale statefulset toolforge-push --replicas=1/);
  await byKey.commit('with two replicas', politeTool('four'));
  const pushed = await byKey.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  const ready = `{.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}`;
  const words = ['get', 'endpointslices', '-l', `kubernetes.io/service-name=${HOME}`];
  assert.equal(await kubectl('-n', HOME, ...words, '-o', `jsonpath=${ready}`), `${HOME}-0`);
  await kubectl('-n', HOME, 'scale', 'statefulset', HOME, '--replicas=1');
  await kubectl('-n', HOME, 'wait', '--for=delete', `pod/${second}`, '--timeout=120s');
});

test('threat 85: a server that loses its Lease to another server ends with an error, and starts again when the other server’s Lease has expired', async () => {
  const uid = await installation.uid();
  const patch = { spec: { holderIdentity: 'another-0_x' } };
  await kubectl('-n', HOME, 'patch', 'lease', HOME, '--type=merge', '-p', JSON.stringify(patch));
  const previous = async () => (await run('kubectl', ['-n', HOME, 'logs', `${HOME}-0`, '--previous'])).stdout;
  await until(async () => (await previous()).includes('ANOTHER_SERVER'), 'the server ends', 60_000);
  assert.match(await previous(), /"level":"error".*the server ends, because it has lost its Lease/);
  await installation.untilReady('');
  assert.equal(await installation.uid(), uid, 'the pod was replaced');
  const { stdout } = await run('kubectl', ['-n', HOME, 'logs', `${HOME}-0`]);
  assert.match(stdout, /"holder":"another-0".*waiting for the Lease of another server to expire/);
  await installation.untilServed();
});

test('if a bad setting stops the server, correcting the setting is enough to bring the server back', async () => {
  const uid = await installation.uid();
  await installation.change({ ssh: 'nowhere' });
  await kubectl('apply', '-k', installation.overlay);
  const crashes = 'jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}';
  await until(
    async () => {
      const { stdout } = await run('kubectl', ['-n', HOME, 'get', 'pod', `${HOME}-0`, '-o', crashes]);
      // The old pod may also have restarted.
      return !stdout.startsWith(uid) && Number(stdout.split(' ')[1]) > 0;
    },
    'the server crashes',
    120_000,
  );
  await installation.change({ ssh: '0.0.0.0:2222' });
  await kubectl('apply', '-k', installation.overlay);
  await kubectl('-n', HOME, 'rollout', 'status', `statefulset/${HOME}`, '--timeout=90s');
  await installation.untilServed();
  assert.equal((await installation.command('ps', 'by-key')).exitCode, 0);
});

test('the StatefulSet can be replaced as docs/operating.md says, and its pod continues', async () => {
  const uid = await installation.uid();
  await installation.page.walk('Day by day', '--cascade=orphan');
  assert.equal(await installation.uid(), uid);
});

test('a backup that is made as docs/operating.md says can be restored as the page says', async () => {
  const [live, key] = [await mainOf(byKey), await installation.page.walk('The first push')];
  assert.match(key, /SHA256:\S+ .* \(ED25519\)/);
  await installation.page.walk('Backup and restore', 'kind: Pod');
  await installation.page.walk('Backup and restore', '>backup.tar');
  await installation.untilServed();
  await byKey.commit('after the backup', politeTool('five'));
  assert.equal((await byKey.push()).exitCode, 0);
  await installation.page.walk('Backup and restore', '<backup.tar');
  await installation.untilServed();
  assert.equal(await mainOf(byKey), live);
});

test('the server can be removed while its volume stays, and installed again with this volume', async () => {
  const [live, key] = [await mainOf(byKey), await installation.page.walk('The first push')];
  await installation.page.walk('Removal', 'Retain');
  assert.equal((await installation.get('by-key')).status, 200, 'the tools have stopped');
  await installation.page.walk('Removal', 'claimRef/uid');
  await installation.found();
  await byKey.git('remote', 'set-url', 'toolforge', installation.remote('ssh', 'by-key'));
  assert.equal(await mainOf(byKey), live);
  const fingerprints = (text: string) => text.match(/SHA256:\S+/g)?.toSorted();
  assert.deepEqual(fingerprints(await installation.page.walk('The first push')), fingerprints(key));
});
