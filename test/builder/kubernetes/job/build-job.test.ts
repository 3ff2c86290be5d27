import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Container } from '@kubernetes/client-node';
import { type BuildJob, buildJob, PHASES } from '../../../../src/builder/kubernetes/job/build-job.ts';

const job: BuildJob = {
  name: 'build-wc-0123456789ab',
  namespace: 'builds',
  labels: { 'push.toolforge.org/tool': 'wc' },
  annotations: {},
  builderImage: `registry.example.org/builder@sha256:${'0'.repeat(64)}`,
  user: { uid: 1002, gid: 1003 },
  runImage: '',
  image: 'registry.example.org/tool-wc/tool-wc:one',
  newestImage: 'registry.example.org/tool-wc/tool-wc:latest',
  cacheImage: 'registry.example.org/tool-wc/cache:latest',
  useCache: true,
  rebaseOf: null,
  isInspection: false,
  plainHttpHosts: [],
  own: { first: [], beforeProcfile: [], last: [], warnings: [] },
  sourceUrl: 'https://push.example.org/-/source',
  secrets: { build: 'b', platform: 'p', registry: 'r', pull: null },
  limits: { cpuMillis: 2000, memoryBytes: 2 ** 31, diskBytes: 2 ** 32, seconds: 900 },
  startedAt: 1_800_000_000,
};

function containersOf(change: Partial<BuildJob> = {}): Map<string, V1Container> {
  const { spec } = buildJob({ ...job, ...change }).spec.template;
  const all = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  return new Map(all.map((container) => [container.name, container]));
}

const seesVolume = (container: V1Container | undefined, name: string) =>
  container?.volumeMounts?.some((mount) => mount.name === name) ?? false;

test('each phase of a build in the cluster runs in its own container, in order', () => {
  const { spec } = buildJob(job).spec.template;
  assert.deepEqual([...containersOf().keys()], [...PHASES]);
  assert.equal(spec?.containers.length, 1);
  assert.ok(spec?.initContainers?.every(({ restartPolicy }) => restartPolicy === undefined));
});

for (const phase of PHASES) {
  const isAllowed = ['fetch', 'export'].includes(phase);
  test(`the build phase ${phase} ${isAllowed ? 'sees' : 'does not see'} the registry’s credential`, () => {
    const container = containersOf().get(phase);
    assert.equal(seesVolume(container, 'registry'), isAllowed);
    assert.equal(container?.env?.some(({ name }) => name === 'DOCKER_CONFIG') ?? false, isAllowed);
  });
}

test('a build with a buildpack of the tool has the same rights as any other build; only its commands differ', () => {
  const { first, ...others } = job.own;
  const own = {
    ...others,
    first: [...first, { id: 'wc/greeter', version: '1', isEnvCleared: false, path: 'ci/greeter' }],
  };
  const rest = (change: Partial<BuildJob>) =>
    JSON.parse(JSON.stringify(buildJob({ ...job, ...change })), (_key, value) =>
      ['fetch', 'detect', 'build'].includes(value?.name) ? { ...value, command: null } : value,
    );
  assert.deepEqual(rest({ own }), rest({}));
});

test('a rebase runs one container without the source, config vars or buildpacks of the tool', () => {
  const rebaseOf = `registry.example.org/tool-wc/tool-wc@sha256:${'1'.repeat(64)}`;
  const containers = containersOf({ rebaseOf, runImage: 'registry.example.org/run:1' });
  assert.deepEqual([...containers.keys()], ['export']);
  const { command = [], volumeMounts = [] } = containers.get('export') ?? {};
  assert.match(command.join(' '), /rebaser -force -run-image/);
  assert.deepEqual(command.slice(-4), ['-previous-image', rebaseOf, job.image, job.newestImage]);
  assert.deepEqual(
    volumeMounts.map(({ name }) => name).filter((name) => name === 'platform' || name === 'source'),
    [],
  );
});

test('only the fetch phase of a build sees the source’s token, and only phases with buildpacks see config vars', () => {
  const seeing = (volume: string) => PHASES.filter((phase) => seesVolume(containersOf().get(phase), volume));
  assert.deepEqual(seeing('source'), ['fetch']);
  assert.deepEqual(seeing('platform'), ['detect', 'build']);
});

for (const [phase, allowed] of [
  // In these phases, a config var such as LD_LIBRARY_PATH can run code of the tool. The code must not change the volume
  // `control`, which names the images that other phases read with the registry's credential.
  ['detect', ['workspace', 'detected']],
  ['build', ['workspace', 'layers']],
] as const) {
  test(`threat 64: the build phase ${phase}, which can run code of the tool, writes only to the volumes ${allowed.join(' and ')}`, () => {
    const mounts = containersOf().get(phase)?.volumeMounts ?? [];
    const written = mounts.filter(({ readOnly }) => readOnly !== true).map(({ name }) => name);
    assert.deepEqual(written, allowed);
  });
}

test('each build phase mounts the volumes of the files analyzed.toml, group.toml and plan.toml that its command names', () => {
  for (const [phase, { command = [], volumeMounts = [] }] of containersOf()) {
    const paths = command.filter((word) => /^\/.*\/(analyzed|group|plan)\.toml$/.test(word));
    for (const path of paths) {
      const mount = volumeMounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`));
      assert.ok(mount !== undefined, `${phase} does not see ${path}`);
      if (phase === 'fetch' || phase === 'restore') assert.equal(mount.readOnly, !path.includes('analyzed'));
    }
  }
});

test('threat 74: each build container passes Pod Security `restricted`, has limits, and has no token of the cluster', () => {
  const { spec } = buildJob(job).spec.template;
  assert.equal(spec?.automountServiceAccountToken, false);
  assert.equal(spec?.enableServiceLinks, false);
  assert.equal(spec?.shareProcessNamespace, undefined);
  assert.equal(spec?.hostNetwork, undefined);
  assert.deepEqual(spec?.securityContext, {
    runAsNonRoot: true,
    runAsUser: 1002,
    runAsGroup: 1003,
    fsGroup: 1003,
    seccompProfile: { type: 'RuntimeDefault' },
  });
  for (const { securityContext, resources } of containersOf().values()) {
    assert.deepEqual(securityContext, { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } });
    assert.deepEqual(Object.keys(resources?.limits ?? {}).sort(), ['cpu', 'ephemeral-storage', 'memory']);
  }
  for (const volume of spec?.volumes ?? []) {
    assert.ok(volume.emptyDir !== undefined || volume.secret !== undefined, `${volume.name} is of the node`);
  }
});

test('the Job of a build ends by itself without a server, is not retried, and is deleted', () => {
  const { spec } = buildJob(job);
  assert.equal(spec.backoffLimit, 0);
  assert.equal(spec.activeDeadlineSeconds, 900);
  assert.ok((spec.ttlSecondsAfterFinished ?? 0) > 0);
});

test('a build with no-cache reads nothing of an earlier build, but still writes the cache', () => {
  const containers = containersOf({ useCache: false });
  const words = (phase: string) => containers.get(phase)?.command ?? [];
  assert.deepEqual([...containers.keys()], ['fetch', 'detect', 'build', 'export']);
  assert.ok(words('fetch').includes('-skip-layers'));
  assert.ok(!words('fetch').includes('-previous-image'));
  assert.ok(words('export').includes('-cache-image'));
});

test('builds use plain HTTP only for the registries of registry_plain_http', () => {
  const phasesWith = (change: Partial<BuildJob>) =>
    [...containersOf(change)]
      .filter(([, { command }]) => command?.includes('-insecure-registry'))
      .map(([name]) => name);
  assert.deepEqual(phasesWith({}), []);
  assert.deepEqual(phasesWith({ plainHttpHosts: ['10.0.0.1:5000'] }), ['fetch', 'export']);
});

test('if the registry needs no login, no credential is mounted in a build', () => {
  const { spec } = buildJob({ ...job, secrets: { ...job.secrets, registry: null } }).spec.template;
  assert.ok(!spec?.volumes?.some(({ name }) => name === 'registry'));
});

test('the Job that only inspects a source fetches the source and detects buildpacks, and has no phase that builds or makes an image', () => {
  const { spec } = buildJob({ ...job, isInspection: true }).spec.template;
  const names = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(({ name }) => name);
  assert.deepEqual(names, ['fetch', 'detect']);
});
