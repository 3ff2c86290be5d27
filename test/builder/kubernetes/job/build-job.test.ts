import assert from 'node:assert/strict';
import { lstat, mkdir, mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { V1Container } from '@kubernetes/client-node';
import { execa } from 'execa';
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
      ['fetch', 'build'].includes(value?.name) ? { ...value, command: null } : value,
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

test('only the fetch phase of a build sees the source’s token, and only the build phase sees config vars', () => {
  const seeing = (volume: string) => PHASES.filter((phase) => seesVolume(containersOf().get(phase), volume));
  assert.deepEqual(seeing('source'), ['fetch']);
  assert.deepEqual(seeing('platform'), ['build']);
});

// A config var such as LD_LIBRARY_PATH can run code of the tool in the phase `build`. The code must not change the volume
// `control`, which names the images that other phases read with the registry's credential.
test('threat 64: the build phase `build`, which can run code of the tool, can write only to the volumes `workspace`, `layers` and `detected`', () => {
  const mounts = containersOf().get('build')?.volumeMounts ?? [];
  const written = mounts.filter(({ readOnly }) => readOnly !== true).map(({ name }) => name);
  assert.deepEqual(written, ['workspace', 'layers', 'detected']);
});

/** Runs the command of the container `build`, with these scripts in place of the detector and the builder. */
async function runBuild(programs: { readonly detector: string; readonly builder: string }) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'lifecycle-'));
  for (const [name, script] of Object.entries(programs))
    await writeFile(join(folder.path, name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  const [program = '', ...words] = containersOf().get('build')?.command ?? [];
  const here = words.map((word) => word.replace('/cnb/lifecycle', folder.path));
  const { stdout, exitCode } = await execa(program, here, { reject: false });
  return { lines: stdout.split('\n'), exitCode };
}

test('the container build runs the detector and then the builder, each with its own options', async () => {
  const { lines, exitCode } = await runBuild({
    detector: 'echo detector "$#" "$@"',
    builder: 'echo builder "$@"',
  });
  assert.equal(exitCode, 0);
  assert.equal(lines[0], 'Starting detector...');
  assert.match(
    lines[1] ?? '',
    /^detector \d+ -no-color .*-group \/detected\/group.toml -plan \/detected\/plan.toml$/,
  );
  assert.match(lines[2] ?? '', /^builder -no-color .*-plan \/detected\/plan.toml$/);
});

test('the container build exits with the status of a detector that fails, without running the builder', async () => {
  const { lines, exitCode } = await runBuild({ detector: 'exit 20', builder: 'echo builder' });
  assert.deepEqual({ lines, exitCode }, { lines: ['Starting detector...'], exitCode: 20 });
});

test('the container build exits with the status of a builder that fails', async () => {
  assert.equal((await runBuild({ detector: 'true', builder: 'exit 51' })).exitCode, 51);
});

// With the real restorer of lifecycle 0.21.0: a cached layer that is a symbolic link to analyzed.toml is restored, and
// then an SBOM file of the earlier image is copied to its place.
test('threat 195: if a link of an earlier build leads to a file of the volume `control`, the file stays unchanged although the restorer writes to the link', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fetch-'));
  const control = join(folder.path, 'control');
  await mkdir(control);
  const programs = {
    analyzer: `echo 'reference = "the run image"' >${control}/analyzed.toml`,
    restorer: `ln -s ${control}/analyzed.toml ${folder.path}/layer
      echo 'reference = "the image of another tool"' >${folder.path}/layer; ln -s /etc ${control}/more`,
  };
  for (const [name, script] of Object.entries(programs))
    await writeFile(join(folder.path, name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  const [program = '', ...words] = containersOf().get('fetch')?.command ?? [];
  const here = words.map((word, index) =>
    index === words.indexOf('bash') + 1
      ? 'true'
      : word.replaceAll('/cnb/lifecycle', folder.path).replaceAll('/control', control),
  );
  await execa(program, here, { env: { CNB_BUILDPACKS_DIR: folder.path } });
  assert.deepEqual(await readdir(control), ['analyzed.toml']);
  assert.ok((await lstat(join(control, 'analyzed.toml'))).isFile());
  assert.equal(await readFile(join(control, 'analyzed.toml'), 'utf8'), 'reference = "the run image"\n');
});

test('each build phase mounts the volumes of the files analyzed.toml, group.toml and plan.toml that its command names', () => {
  for (const [phase, { command = [], volumeMounts = [] }] of containersOf()) {
    const paths = command.filter((word) => /^\/.*\/(analyzed|group|plan)\.toml$/.test(word));
    for (const path of paths) {
      const mount = volumeMounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`));
      assert.ok(mount !== undefined, `${phase} does not see ${path}`);
      if (phase === 'fetch') assert.equal(mount.readOnly, !path.includes('analyzed'));
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
  assert.deepEqual([...containers.keys()], ['fetch', 'build', 'export']);
  assert.ok(words('fetch').includes('-skip-layers'));
  assert.ok(!words('fetch').includes('-previous-image'));
  assert.ok(words('export').includes('-cache-image'));
});

test('builds use plain HTTP only for the registries that the setting registry_plain_http names', () => {
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

test('the Job that only inspects a source fetches the source and runs the detector, but neither the builder nor the exporter', () => {
  const { spec } = buildJob({ ...job, isInspection: true }).spec.template;
  const names = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(({ name }) => name);
  assert.deepEqual(names, ['fetch', 'build']);
  assert.match(spec?.containers[0]?.command?.join(' ') ?? '', /^\/cnb\/lifecycle\/detector (?!.*builder)/);
});
