import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Registry } from '../../../src/builder/registry/registry.ts';
import { type Run, until } from '../../support/server.ts';
import { type Files, WorkTree, webTool } from '../../support/work-tree.ts';
import { registryHost } from '../images.ts';
import { builderWithScript } from '../installation/images.ts';
import { apply, kubectl } from '../installation/kubectl.ts';
import { NarrowRights } from '../installation/narrow-rights.ts';
import { ClusterServer } from './cluster-server.ts';

const TOOL = 'base';
const LIMIT_MS = 60_000;
const KINDS =
  'deployments,replicasets,pods,services,endpointslices,ingresses,secrets,configmaps,cronjobs,jobs,poddisruptionbudgets,networkpolicies,resourcequotas,limitranges';

interface Found {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** A tool that answers with `text`, with a nightly job and a worker that only runs if it is scaled. */
function shopTool(text: string): Files {
  return {
    ...webTool(text),
    Procfile: 'web: python3 server.py\nworker: sleep 100000\n',
    'jobs.yaml': '- name: nightly\n  command: "echo nightly"\n  schedule: "@yearly"\n',
  };
}

// The namespace exists for the tool alone, and the server has only the rights of deploy/kubernetes.
describe('previews and dry runs in a cluster', { concurrency: 1 }, () => {
  let folder: string;
  let rights: NarrowRights;
  let there: ClusterServer;
  let tree: WorkTree;

  const namespace = () => `${there.prefix}${TOOL}`;
  const passed = (run: Run) => {
    assert.equal(run.exitCode, 0, run.stdout + run.stderr);
    return run;
  };
  const command = async (...words: string[]) => passed(await there.server.command(...words)).stdout;
  const push = async (ref: string) => passed(await tree.push('toolforge', ref));
  const answers = (tool: string, text: string) =>
    until(async () => (await there.get(tool)).body === text, `${tool} answers ${text}`, LIMIT_MS);
  const objects = async (...selection: string[]): Promise<Found[]> =>
    JSON.parse(await kubectl('-n', namespace(), 'get', KINDS, '-o', 'json', ...selection)).items;
  const objectsOf = (tool: string) => objects('-l', `push.toolforge.org/tool=${tool}`);
  const uidsOf = async (tool: string) =>
    (await objectsOf(tool)).map(({ kind, metadata: { name, uid } }) => `${kind} ${name} ${uid}`).sort();
  /** Each tag with its digest in the repositories of a tool. */
  async function imagesOf(tool: string): Promise<string[]> {
    const registry = new Registry({ host: registryHost, isPlainHttp: true, credentials: async () => null });
    const own = `${there.prefix}images/tool-${tool}`;
    const signal = AbortSignal.timeout(LIMIT_MS);
    const all = [`${own}/tool-${tool}`, `${own}/cache`].map(async (name) => {
      const tags = await registry.tags(name, signal);
      return await Promise.all(
        tags.sort().map(async (tag) => `${name}:${tag} ${await registry.digestOf(name, tag, signal)}`),
      );
    });
    return (await Promise.all(all)).flat();
  }
  const isGone = async (preview: string) =>
    (await objectsOf(preview)).length === 0 && (await imagesOf(preview)).length === 0;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'previews-'));
    rights = await NarrowRights.create(folder);
    there = await ClusterServer.start(await builderWithScript(), {
      KUBECONFIG: rights.kubeconfig,
      TOOLFORGE_PUSH_MAKE_NAMESPACES: 'false',
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
      TOOLFORGE_PUSH_RUN_MEMORY: '96',
      TOOLFORGE_PUSH_PREVIEW_MEMORY: '64',
      TOOLFORGE_PUSH_GRACE_TIME: '1',
      TOOLFORGE_PUSH_DRAIN_TIME: '0',
      TOOLFORGE_PUSH_PREVIEWS: '2',
      TOOLFORGE_PUSH_REPLICA_SECRET: 'replica',
      TOOLFORGE_PUSH_INGRESS_TLS_SECRET: 'TOOL-tls',
    });
    await rights.letBuild(there.builds);
    await there.server.addTool(TOOL);
    await kubectl('create', 'namespace', namespace());
    await rights.letRun(namespace());
    const replica = ['create', 'secret', 'generic', 'replica'];
    const literals = ['replica.my.cnf=x', 'TOOL_REPLICA_USER=u', 'TOOL_REPLICA_PASSWORD=p'];
    await kubectl('-n', namespace(), ...replica, ...literals.map((one) => `--from-literal=${one}`));
    tree = await WorkTree.create(there.server, 'ssh', TOOL);
    await tree.commit('one', shopTool('one'));
    await push('HEAD:main');
    await command('config', 'set', TOOL, 'SECRET=top', 'LOCALE=de');
    await command('config', 'share', TOOL, 'LOCALE');
  });
  after(async () => {
    await there?.[Symbol.asyncDispose]();
    await rights?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  test('threat 99: a preview runs in the namespace of its tool and gets no secret of the tool; commands on the tool do not change its previews', async () => {
    await tree.commit('two', shopTool('two'));
    const pushed = await push('HEAD:preview/fix');
    assert.match(pushed.stderr, /\[new branch\] +HEAD -> preview\/fix/);
    await answers('fix--base', 'two');
    await push('HEAD:preview/web');
    await answers('web--base', 'two');
    for (let count = 0; count < 20; count += 1) assert.equal((await there.get(TOOL)).body, 'one');
    assert.match(await command('previews', TOOL), /^fix +v1 .*\n^web +v1 /m);
    const shell = `'echo "[$SECRET$TOOL_REPLICA_PASSWORD] $LOCALE"; ls "$TOOL_DATA_DIR"'`;
    assert.match(await command('run', 'fix--base', 'sh', '-c', shell), /^\[\] de\s*$/);
    assert.match(await command('run', TOOL, 'sh', '-c', shell), /^\[topp\] de\s+replica.my.cnf\s*$/);
    assert.match(await command('schedule', 'list', 'fix--base'), /nightly .* paused/);
    await command('schedule', 'run', 'fix--base', 'nightly');
    const output = () => command('logs', 'fix--base', '--grep', 'nightly');
    await until(async () => /nightly/.test(await output()), 'the run of the preview', LIMIT_MS);
    assert.doesNotMatch(await command('logs', TOOL, '--grep', 'nightly'), /nightly\.1/);
    const schedules = (await objects()).filter(({ kind }) => kind === 'CronJob');
    assert.deepEqual(
      schedules
        .map(({ metadata, spec }) => `${metadata.labels?.['push.toolforge.org/tool']} ${spec?.['suspend']}`)
        .sort(),
      ['base false', 'fix--base true', 'web--base true'],
    );
    const pods = (await objects()).filter(({ kind }) => kind === 'Pod');
    const limitOf = ({ spec }: Found) => JSON.stringify(spec).match(/"limits":{[^}]*"memory":"(\w+)"/)?.[1];
    assert.deepEqual(new Set(pods.map(limitOf)), new Set(['96Mi', '64Mi']));
    assert.ok((await objects()).every(({ metadata: { name } }) => name.length <= 63));

    const previews = [await uidsOf('fix--base'), await uidsOf('web--base')];
    await command('scale', TOOL, 'web=2', 'worker=1');
    await command('restart', TOOL);
    await command('stop', TOOL);
    assert.notEqual((await there.get(TOOL)).status, 200);
    assert.equal((await there.get('fix--base')).body, 'two');
    assert.deepEqual([await uidsOf('fix--base'), await uidsOf('web--base')], previews);
    await tree.commit('three', shopTool('three'));
    await push('HEAD:preview/fix');
    await answers('fix--base', 'three');
    assert.match(await command('ps', TOOL), /stopped/);
    await command('restart', TOOL);
    await answers(TOOL, 'one');
    await command('scale', TOOL, 'web=1', 'worker=0');
    const third = await tree.push('toolforge', 'HEAD:preview/third');
    assert.match(third.stderr, /a tool can have 2 \(previews\)/);
  });

  test('deleted objects of a preview are restored, and the pods of a preview keep running when the server is killed', async () => {
    await kubectl('-n', namespace(), 'delete', 'service', 'fix--base');
    await kubectl(
      '-n',
      namespace(),
      'delete',
      'deployment,cronjob',
      '-l',
      'push.toolforge.org/tool=fix--base',
    );
    await until(
      async () => {
        const kinds = new Set((await objectsOf('fix--base')).map(({ kind }) => kind));
        const isWhole = ['Service', 'Deployment', 'CronJob', 'Secret', 'Ingress'].every((one) =>
          kinds.has(one),
        );
        return isWhole && (await there.get('fix--base')).body === 'three';
      },
      'all objects are back',
      LIMIT_MS,
    );
    assert.equal((await there.get(TOOL)).body, 'one');
    await until(async () => (await objects()).every(isStaying), 'no pod is ending', LIMIT_MS);
    const pods = async () =>
      (await objects()).flatMap(({ kind, metadata }) => (kind === 'Pod' ? metadata.uid : []));
    const ran = (await pods()).sort();
    await there.server.kill('SIGKILL');
    await there.server.boot(LIMIT_MS);
    await until(
      async () => /web\.1 +v2 +up/.test(await command('ps', 'fix--base')),
      'the preview is up',
      LIMIT_MS,
    );
    assert.deepEqual((await pods()).sort(), ran);
  });

  test('the end of a preview deletes all its objects, images and Secrets and nothing else, even if the server was killed meanwhile', async () => {
    for (const name of ['fix--base-tls', 'web--base-tls', 'base-tls'])
      await kubectl('-n', namespace(), 'create', 'secret', 'generic', name);
    await command('run', '--detach', 'fix--base', 'sleep', '1000');
    const own = await uidsOf(TOOL);
    const images = await imagesOf(TOOL);
    assert.ok((await imagesOf('fix--base')).length > 0);
    const ended = await push(':preview/fix');
    assert.match(ended.stderr, /The preview has ended/);
    assert.ok(await isGone('fix--base'));
    await there.server.kill('SIGKILL');
    const store = new DatabaseSync(join(there.server.folder, 'data/store.sqlite'));
    store.exec(`UPDATE tools SET is_ending = 1, live_version = NULL WHERE name = 'web--base'`);
    store.close();
    await there.server.boot(LIMIT_MS);
    await until(() => isGone('web--base'), 'the end goes on', LIMIT_MS);
    await until(async () => /no previews/.test(await command('previews', TOOL)), 'both have ended', LIMIT_MS);
    const secrets = (await objects()).filter(({ kind }) => kind === 'Secret');
    assert.deepEqual(secrets.map(({ metadata: { name } }) => name.replace(/-v\d+-.*/, '')).sort(), [
      'base-tls',
      'config',
      'replica',
    ]);
    assert.deepEqual(await uidsOf(TOOL), own);
    assert.deepEqual(await imagesOf(TOOL), images);
    assert.equal((await there.get(TOOL)).body, 'one');
  });

  test('a preview that would leave no room in the quota for the next release of its tool is refused', async () => {
    await quota({ 'limits.memory': '250Mi' });
    await tree.commit('four', shopTool('four'));
    const before = await objects();
    const tried = passed(await tree.push('-o', 'dry-run', 'toolforge', 'HEAD:preview/full'));
    assert.match(tried.stderr, /The preview would leave no room for the next rollout of base: .*memory/);
    assert.match(tried.stderr, /created: .*Deployment web.*\n.*changed: none *\n.*removed: none/);
    assert.deepEqual((await objects()).length, before.length);
    const full = await tree.push('toolforge', 'HEAD:preview/full');
    assert.match(full.stderr, /the preview would leave no room for the next rollout of base: .*memory/);
    assert.match(full.stderr, /the preview full--base is not live yet/);
    assert.deepEqual(
      (await objectsOf('full--base')).filter(({ kind }) => kind === 'Deployment' || kind === 'Pod'),
      [],
    );
    await push('HEAD:main');
    await answers(TOOL, 'four');
    passed(await tree.push('toolforge', ':refs/heads/preview/full'));
    assert.ok(await isGone('full--base'));
    // Waits until the pods of the previous release have ended, so that only the pod of the live release is left.
    const pods = async () => (await objects()).filter(({ kind }) => kind === 'Pod');
    await until(async () => (await pods()).length === 1, 'one pod is left', LIMIT_MS);
    await quota({ pods: '2' });
    const crowded = await tree.push('toolforge', 'HEAD:preview/crowded');
    assert.match(crowded.stderr, /the preview would leave no room for the next rollout of base: .*pods/);
    await command('previews', 'end', TOOL, 'crowded');
    await kubectl('-n', namespace(), 'delete', 'resourcequota', 'tight');
  });

  /** Waits until nothing changes any more. @returns everything that a push could change. */
  async function settled(): Promise<{ found: Found[]; rest: unknown }> {
    const look = async () => ({
      found: await objects(),
      rest: [
        await imagesOf(TOOL),
        await kubectl('-n', there.builds, 'get', 'jobs,pods,secrets', '-o', 'name'),
        await there.server.inRepository(TOOL, 'for-each-ref'),
        ...(await Promise.all(
          ['releases', 'builds', 'deployments'].map((one) => command(one, TOOL, '--json')),
        )),
      ],
    });
    let before = await look();
    return await until(
      async () => {
        const now = await look();
        const isSame = isDeepStrictEqual(versionsOf(now), versionsOf(before));
        before = now;
        return isSame && now.found.every(isStaying) && now;
      },
      'nothing changes',
      LIMIT_MS,
    );
  }

  test('a dry run changes no object, image, ref or release, and names exactly the objects that the push then changes', async () => {
    const cases: [string, Files][] = [
      ['the same processes', shopTool('five')],
      [
        'another process, no schedule',
        {
          ...shopTool('six'),
          'jobs.yaml': '[]\n',
          'app.json': '{"formation": {"worker": {"quantity": 1}}}',
        },
      ],
    ];
    for (const [name, files] of cases) {
      await tree.commit(name, files);
      const before = await settled();
      const tried = passed(await tree.push('-o', 'dry-run', 'toolforge', 'HEAD:main'));
      assert.deepEqual(versionsOf(await settled()), versionsOf(before), name);
      assert.match(tried.stderr, /the quota has room/);
      await push('HEAD:main');
      assert.deepEqual(saidOf(tried.stderr), changesBetween(before.found, (await settled()).found), name);
    }
  });

  test('a dry run fails if the cluster would refuse an object of the push, warns of a full quota, and changes nothing', async () => {
    await tree.commit('seven', shopTool('seven'));
    await quota({ 'limits.memory': '140Mi' });
    const before = await settled();
    const warned = passed(await tree.push('-o', 'dry-run', 'toolforge', 'HEAD:main'));
    assert.match(warned.stderr, /quota tight is used up \(memory/);
    await quota({ 'count/deployments.apps': '2' });
    const full = await settled();
    const refused = await tree.push('-o', 'dry-run', 'toolforge', 'HEAD:main');
    assert.notEqual(refused.exitCode, 0, refused.stderr);
    assert.match(refused.stderr, /quota tight is used up \(deployments/);
    const really = await tree.push('toolforge', 'HEAD:main');
    assert.match(really.stderr, /quota tight is used up \(deployments/);
    await kubectl('-n', namespace(), 'delete', 'resourcequota', 'tight');
    const objectsOnly = ({ found }: { found: Found[] }) =>
      versionsOf({
        found: found.filter(({ kind }) => kind !== 'ResourceQuota' && kind !== 'Secret'),
        rest: null,
      });
    assert.deepEqual(objectsOnly(full), objectsOnly(before));
    assert.equal((await there.get(TOOL)).body, 'six');
  });

  /** Sets the quota `tight`, and waits until the cluster has counted what is in use. */
  async function quota(hard: Readonly<Record<string, string>>): Promise<void> {
    await kubectl('-n', namespace(), 'delete', 'resourcequota', 'tight', '--ignore-not-found');
    const metadata = { name: 'tight', namespace: namespace() };
    await apply({ apiVersion: 'v1', kind: 'ResourceQuota', metadata, spec: { hard } });
    const read = ['-n', namespace(), 'get', 'resourcequota', 'tight', '-o', 'json'];
    await until(
      async () => JSON.parse(await kubectl(...read)).status?.used !== undefined,
      'the quota is counted',
      LIMIT_MS,
    );
  }
});

function isStaying({ metadata }: Found): boolean {
  return !('deletionTimestamp' in metadata);
}

function versionsOf({ found, rest }: { found: Found[]; rest: unknown }): unknown {
  const versions = found.map(({ kind, metadata }) => `${kind} ${metadata.uid} ${metadata.resourceVersion}`);
  return [versions.sort(), rest];
}

/** The objects that a dry run named, such as `changed Service base`. */
function saidOf(output: string): string[] {
  return ['created', 'changed', 'removed']
    .flatMap((change) => {
      const names = new RegExp(`${change}: (.*)`).exec(output)?.[1]?.trim() ?? '';
      return names === 'none' ? [] : names.split(', ').map((name) => `${change} ${name}`);
    })
    .sort();
}

/** The differences between two states of a namespace, in the words of `saidOf`. Ignores what the cluster itself makes. */
function changesBetween(before: Found[], now: Found[]): string[] {
  const made = ['Deployment', 'Secret', 'PodDisruptionBudget', 'Service', 'Ingress', 'CronJob'];
  const find = (all: Found[], { metadata: { uid } }: Found) =>
    all.find(({ metadata }) => metadata.uid === uid);
  const nameOf = ({ kind, metadata: { name, labels } }: Found) => {
    if (kind === 'Secret') return `${kind} config`;
    const isOfProcess = kind === 'Deployment' || kind === 'PodDisruptionBudget';
    return `${kind} ${isOfProcess ? labels?.['push.toolforge.org/process'] : name}`;
  };
  const ours = (all: Found[]) => all.filter(({ kind }) => made.includes(kind));
  return [
    ...ours(now).flatMap((one) => {
      const known = find(before, one);
      if (known === undefined) return [`created ${nameOf(one)}`];
      const isSame = known.metadata.resourceVersion === one.metadata.resourceVersion;
      return isSame ? [] : [`changed ${nameOf(one)}`];
    }),
    ...ours(before).flatMap((one) => (find(now, one) === undefined ? [`removed ${nameOf(one)}`] : [])),
  ].sort();
}
