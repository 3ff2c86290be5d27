import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type Cluster, connectCluster } from '../../../src/kubernetes/cluster.ts';
import { failsWith } from '../../builder/support/with-builder.ts';
import { checkOut } from '../../contracts/builder.ts';
import { run, until } from '../../support/server.ts';
import { registry, registryHost } from '../images.ts';
import { kubectl } from '../installation/kubectl.ts';
import { NarrowRights } from '../installation/narrow-rights.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';
import { scriptBuilderImage } from './script-builder.ts';

const MIB = 1024 * 1024;
let image = '';
before(async () => {
  image = await scriptBuilderImage();
});

type Config = NonNullable<NonNullable<Parameters<typeof AClusterBuilder.open>[0]>['config']>;

type More = { patienceMs?: number; clusterFor?: (namespace: string) => Promise<Cluster> };
const open = (config: Config = {}, more: More = {}) =>
  AClusterBuilder.open({ config: { builder_image: image, ...config }, ...more });
const script = (text: string) => checkOut({ 'build.sh': text });

/** Waits until no Job, pod or Secret of a build is left. */
async function assertNothingLeft(builder: AClusterBuilder): Promise<void> {
  await until(async () => (await builder.leftovers()).length === 0, 'nothing left in the namespace', 30_000);
}

/** A proxy to the registry that can be closed. */
class Gate {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(): Promise<Gate> {
    const url = new URL(`http://${registryHost}`);
    const server = createServer();
    const gate = new Gate(server);
    server.on('connection', (socket) => {
      const other = connect(Number(url.port), url.hostname);
      for (const [one, two] of [
        [socket, other],
        [other, socket],
      ] as const) {
        gate.#sockets.add(one);
        one.on('error', () => two.destroy());
        one.pipe(two);
      }
    });
    server.listen(0, url.hostname);
    await once(server, 'listening');
    return gate;
  }

  get host(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `${address}:${port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

// A build mostly waits until the node starts its containers, so several can run at once.
suite('failing builds', { concurrency: 3 }, () => {
  for (const { name, text, config, code, message } of [
    {
      name: 'a script that fails',
      text: 'echo this is why; exit 7',
      config: {},
      code: 'BUILD_FAILED',
      message: /^script exited 7: this is why$/,
    },
    {
      name: 'a script that prints the lifecycle’s last lines',
      text: "echo 'ERROR: failed to build: exit status 0'; echo really; exit 3",
      config: {},
      code: 'BUILD_FAILED',
      message: /^script exited 3: /,
    },
    {
      name: 'more memory than the limit',
      text: `python3 -c "a = []
while True: a.append(b'x' * 10_000_000)"`,
      config: { build_memory: 256 * MIB },
      code: 'BUILD_OUT_OF_MEMORY',
      message: /^script needs more than the build’s limit of 256 MiB/,
    },
    {
      name: 'more disk than the limit',
      text: 'head -c 200000000 /dev/zero >large; sleep 120',
      config: { build_disk: 64 * MIB },
      code: 'BUILD_OUT_OF_DISK',
      message: /limit of 64 MiB of disk/,
    },
    {
      name: 'more time than the limit',
      text: 'echo begun; sleep 300',
      // On a busy node, the script may begin late.
      config: { build_time: 30_000 },
      code: 'BUILD_TIMED_OUT',
      message: /limit of 30 s .*during script/,
    },
    {
      name: 'more output than the limit',
      // So little output that the node keeps its beginning, which names the buildpack.
      text: 'yes "$(printf "%0100d" 0)" | head -c 3000000; sleep 300',
      config: { build_output: 1 * MIB },
      code: 'BUILD_TOO_MUCH_OUTPUT',
      message: /limit of 1 MiB .*during script/,
    },
    {
      name: 'more output than the node keeps',
      text: 'yes "$(printf "%0100d" 0)"',
      config: { build_output: 1 * MIB },
      code: 'BUILD_TOO_MUCH_OUTPUT',
      message: /limit of 1 MiB/,
    },
    {
      name: 'an image that is too large',
      text: 'head -c 3000000 /dev/urandom >large',
      config: { artifact_size: 2 * MIB },
      code: 'BUILD_TOO_LARGE',
      message: /more than the limit of 2 MiB/,
    },
  ] as const) {
    test(`threat 78: a failed build in the cluster is reported in a sentence, and no object of the build is left: ${name}`, async () => {
      await using builder = await open(config);
      await assert.rejects(builder.build(script(text)), failsWith(code, message));
      await assertNothingLeft(builder);
    });
  }

  test('threat 78: a build that finds no room on a node says so while it waits, then fails and names the processor cores that it asked for', async () => {
    await using builder = await open({ build_cpu: 256_000 }, { patienceMs: 3000 });
    await assert.rejects(
      builder.build(script('')),
      failsWith('BUILD_UNSCHEDULABLE', /32 of cpu|32000m of cpu/),
    );
    assert.match(builder.said, /waiting: the build finds no room/);
    await assertNothingLeft(builder);
  });

  const limit = (builder: AClusterBuilder, hard: Readonly<Record<string, string>>) =>
    builder.cluster.core.createNamespacedResourceQuota({
      namespace: builder.namespace,
      body: { metadata: { name: 'few' }, spec: { hard } },
    });

  test('threat 77: if a quota is too small for any build, the build fails with the numbers of the quota', async () => {
    await using builder = await open();
    await limit(builder, { pods: '0' });
    await assert.rejects(
      builder.build(script('')),
      failsWith('BUILD_QUOTA', /quota few \(pods: 1 more asked for, 0 of 0 in use\) of the build namespace/),
    );
    await assertNothingLeft(builder);
  });

  for (const [resource, name] of [
    ['pods', 'pods'],
    // The API refuses the Job itself, not its pod.
    ['count/jobs.batch', 'jobs.batch'],
  ] as const) {
    test(`a build in the cluster waits until the quota of the build namespace has room for it: ${name}`, async () => {
      await using builder = await open();
      await limit(builder, { [resource]: '1' });
      const first = builder.build(script('echo begun; sleep 15'));
      await until(async () => builder.said.includes('begun'), 'the first build runs', 60_000);
      const second = builder.build(script('echo second'));
      await until(
        async () => builder.said.includes('waiting: the build finds no room'),
        'the second waits',
        20_000,
      );
      await Promise.all([first, second]);
      assert.match(builder.said, new RegExp(`${name}: 1 more asked for, 1 of 1 in use`));
      assert.match(builder.said, /second/);
      await assertNothingLeft(builder);
    });
  }

  test('a build that finds no room in a quota in time fails, and says that the quota belongs to the build namespace', async () => {
    await using builder = await open({ build_time: 30_000 });
    await limit(builder, { pods: '1' });
    const { namespace } = builder;
    const container = {
      name: 'c',
      image: 'docker.io/library/debian:bookworm-slim',
      command: ['sleep', '600'],
    };
    await builder.cluster.core.createNamespacedPod({
      namespace,
      body: {
        metadata: { name: 'other' },
        spec: {
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: [
            {
              ...container,
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
            },
          ],
        },
      },
    });
    await assert.rejects(
      builder.build(script('')),
      failsWith('BUILD_QUOTA', /1 of 1 in use\) of the build namespace within 15 s/),
    );
  });

  test('a build may have variables of 1 MiB together, as the API of the cluster counts them; with one byte more, the push says that they are too large', async () => {
    await using builder = await open({ build_environment: {} });
    const values = Array.from({ length: 31 }, (_, number) => [`VALUE_${number}`, 'ä'.repeat(16 * 1024)]);
    // The values of the two variables that each build has by default count, too.
    const room = MIB - 31 * 32 * 1024 - 'C.UTF-8'.length - '315532801'.length;
    const filledBy = (bytes: number) => ({ ...Object.fromEntries(values), LAST: 'x'.repeat(bytes) });
    await builder.build(script(''), { configVars: filledBy(room) });
    await assert.rejects(
      builder.build(script(''), { configVars: filledBy(room + 1) }),
      failsWith('CONFIG_TOO_LARGE', /at most 1 MiB$/),
    );
    await assertNothingLeft(builder);
  });

  test('if the namespace for builds and the builder image are missing, a push names the namespace, and the next start of the server logs both faults', async () => {
    // A build looks for its image before it uses the namespace.
    const builder_image = `${registryHost}/no-such-builder:1`;
    await using builder = await open({ build_namespace: 'no-such-namespace', builder_image });
    await assert.rejects(
      builder.build(script('')),
      failsWith('BUILD_NAMESPACE', /builds, no-such-namespace, does not exist/),
    );
    await builder.builder.place.checkAtStart();
    const alarms = builder.log.filter(({ level }) => level === 50);
    assert.deepEqual(
      alarms.map(({ msg }) => msg),
      ['build namespace cannot be used', 'builder image cannot be used'],
    );
  });

  test('if the server lacks a right in the build namespace, the build names the right before it fetches a source', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'narrow-'));
    after(() => rm(folder, { recursive: true }));
    await using narrow = await NarrowRights.create(folder);
    const withoutLogs = async (namespace: string) => {
      await narrow.letBuild(namespace);
      const isTheRule = { op: 'test', path: '/rules/3/resources', value: ['pods/log'] };
      const patch = JSON.stringify([isTheRule, { op: 'remove', path: '/rules/3' }]);
      await kubectl('-n', namespace, 'patch', 'role', 'toolforge-push-builds', '--type=json', '-p', patch);
      return connectCluster({ context: '', kubeconfig: narrow.kubeconfig });
    };
    await using builder = await open({}, { clusterFor: withoutLogs });
    await assert.rejects(
      builder.build(script('')),
      failsWith(
        'CLUSTER_FORBIDDEN',
        new RegExp(`may not get pods/log in the namespace ${builder.namespace}`),
      ),
    );
    assert.equal(builder.sourcesAsked, 0);
    assert.deepEqual(await builder.leftovers(), []);
  });

  test('if the namespace for builds is being deleted, a push says so', async () => {
    await using builder = await open();
    const { core } = builder.cluster;
    const name = `${builder.namespace}-leaving`;
    await core.createNamespace({ body: { metadata: { name } } });
    const held = { metadata: { name: 'held', finalizers: ['push.toolforge.org/test'] } };
    await core.createNamespacedConfigMap({ namespace: name, body: held });
    await core.deleteNamespace({ name });
    try {
      await using leaving = await open({ build_namespace: name });
      await assert.rejects(
        leaving.build(script('')),
        failsWith('BUILD_NAMESPACE', new RegExp(`builds, ${name}, is being deleted`)),
      );
    } finally {
      await core.replaceNamespacedConfigMap({
        name: 'held',
        namespace: name,
        body: { metadata: { name: 'held' } },
      });
    }
  });

  test('if the builder image is missing or unsuitable, a push names the image or what the image lacks', async () => {
    await using builder = await open({ builder_image: `${registryHost}/no-such-builder:1` });
    await assert.rejects(builder.build(script('')), failsWith('BUILDER_IMAGE', /no-such-builder:1/));
    await using other = await open({ builder_image: `${registryHost}/library/debian:bookworm-slim` });
    await assert.rejects(other.build(script('')), failsWith('BUILDER_IMAGE', /CNB_USER_ID/));
  });

  test('threat 78: if the builder image cannot be pulled, the push names the image', async () => {
    const name = `no-longer-there-${process.pid}`;
    const copy = `docker://${registryHost}/${name}:1`;
    const flags = ['--src-tls-verify=false', '--dest-tls-verify=false'];
    assert.equal((await run('skopeo', ['copy', ...flags, `docker://${image}`, copy])).exitCode, 0);
    // Waits long enough for room on the node, which parallel builds may take.
    await using builder = await open({ builder_image: `${registryHost}/${name}:1` }, { patienceMs: 20_000 });
    // The first build finds the image. Then the test deletes it from the registry.
    await assert.rejects(
      builder.build(async () => {
        throw new Error('not this time');
      }),
      /not this time/,
    );
    const signal = AbortSignal.timeout(10_000);
    await registry.delete(name, (await registry.digestOf(name, '1', signal)) ?? '', signal);
    await assert.rejects(
      builder.build(script('')),
      failsWith('BUILD_IMAGE_PULL', new RegExp(`${name}.*the registry does not have it`)),
    );
  });

  test('threat 70: if the registry does not answer before the build, the push says so', async () => {
    await using builder = await open({
      registry: '127.0.0.1:59999/none',
      registry_plain_http: [registryHost, '127.0.0.1:59999'],
    });
    await assert.rejects(
      builder.build(script('')),
      failsWith('REGISTRY_UNAVAILABLE', /127\.0\.0\.1:59999 .*ECONNREFUSED/),
    );
  });

  test('threat 70: if the registry stops answering during the build, the push says so', async () => {
    const gate = await Gate.open();
    after(() => gate.close());
    await using builder = await open({
      registry: `${gate.host}/gate`,
      registry_plain_http: [registryHost, gate.host],
    });
    const source = script('echo closing; sleep 5');
    const failing = builder.build(source);
    const failed = assert.rejects(failing, failsWith('REGISTRY_UNAVAILABLE', new RegExp(gate.host)));
    await until(async () => builder.said.includes('closing'), 'the build runs', 60_000);
    gate.close();
    await failed;
    await assertNothingLeft(builder);
  });

  test('a build in the cluster that is cancelled is removed within 15 s, with all its objects', async () => {
    await using builder = await open();
    const cancel = new AbortController();
    const building = builder.build(script('echo begun; trap "" TERM; sleep 300'), {}, cancel.signal);
    const rejected = assert.rejects(building, { name: 'AbortError' });
    await until(async () => builder.said.includes('begun'), 'the build runs', 60_000);
    const cancelledAt = performance.now();
    cancel.abort();
    await rejected;
    assert.ok(performance.now() - cancelledAt < 15_000);
    assert.deepEqual(await builder.leftovers(), []);
  });

  test('threat 86: cleaning up, as a start of the server does, removes a running build that will not be resumed', async () => {
    await using builder = await open();
    const building = builder.build(script('echo begun; sleep 300'));
    const rejected = assert.rejects(building, failsWith('BUILD_GONE', /during script|during the build/));
    await until(async () => builder.said.includes('begun'), 'the build runs', 60_000);
    await builder.builder.cleanUp(builder.request('').tool, () => 'remove', new Set());
    await rejected;
    await assertNothingLeft(builder);
  });

  test('a build in the cluster fetches its source exactly once', async () => {
    await using builder = await open();
    await builder.build(script('true'));
    assert.equal(builder.sourcesAsked, 1);
  });
});
