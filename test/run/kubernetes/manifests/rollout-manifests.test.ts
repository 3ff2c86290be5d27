import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { V1ObjectMeta } from '@kubernetes/client-node';
import { DeployError } from '../../../../src/core/errors.ts';
import type { ToolName } from '../../../../src/core/names.ts';
import type { Process, Replicas, ServiceSettings } from '../../../../src/core/types.ts';
import { cronJobs } from '../../../../src/run/kubernetes/manifests/cron-job-manifests.ts';
import type { ManifestConfig } from '../../../../src/run/kubernetes/manifests/manifest-config.ts';
import {
  namespaceLimits,
  toolNamespace,
} from '../../../../src/run/kubernetes/manifests/namespace-manifests.ts';
import {
  namespaceOf,
  newRolloutId,
  objectName,
  type Rollout,
} from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { labelValue } from '../../../../src/run/kubernetes/manifests/pod-manifest.ts';
import { milliCores } from '../../../../src/run/kubernetes/manifests/pod-resources.ts';
import {
  disruptionBudget,
  ingress,
  releaseJob,
  rolloutObjects,
  service,
} from '../../../../src/run/kubernetes/manifests/rollout-manifests.ts';
import { releaseOf } from '../../contract-steps.ts';
import { manifestConfig } from './manifest-config.ts';

const MIB = 1024 * 1024;

const config = manifestConfig;

const web: Process = { type: 'web', command: ['python3', 'app.py'], isDefault: true };
const worker: Process = { type: 'worker', command: ['python3', 'worker.py'], isDefault: false };
const migrate: Process = { type: 'release', command: ['python3', 'migrate.py'], isDefault: false };

interface Given {
  readonly processes?: readonly Process[];
  readonly service?: ServiceSettings;
  readonly configVars?: Record<string, string>;
  readonly replicas?: Replicas;
}

function rollout(given: Given = {}): Rollout {
  const artifact = {
    id: 'b1',
    kind: 'image' as const,
    reference: 'registry.example.org/tool-wikibot/tool-wikibot@sha256:0123',
    processes: given.processes ?? [web, worker, migrate],
    buildpacks: ['toolforge/python 3.11.2'],
    service: given.service ?? { healthCheckPath: null },
    bytes: 1,
  };
  const release = releaseOf('wikibot' as ToolName, 42, artifact, given.configVars ?? { API_KEY: 'secret' });
  return { release, id: 'k3x9q', namespace: 'tool-wikibot', replicas: given.replicas ?? {} };
}

function objects(given: Given = {}, changed: Partial<ManifestConfig> = {}) {
  return rolloutObjects({ rollout: rollout(given), toolNumber: 7, config: { ...config, ...changed } });
}

function webPod(given: Given = {}, changed: Partial<ManifestConfig> = {}) {
  const pod = objects(given, changed).deployments[0]?.spec?.template.spec;
  const container = pod?.containers[0];
  assert.ok(pod !== undefined && container !== undefined);
  return { pod, container };
}

const variables = (given: Given, changed: Partial<ManifestConfig> = {}) =>
  Object.fromEntries(webPod(given, changed).container.env?.map(({ name, value }) => [name, value]) ?? []);

describe('manifests', () => {
  test('web and worker each get a Deployment, and `release` gets none; a Deployment has Toolforge’s labels and a rolling update', () => {
    const { deployments } = objects();
    assert.deepEqual(
      deployments.map(({ metadata }) => metadata.name),
      ['web-v42-k3x9q', 'worker-v42-k3x9q'],
    );
    for (const { metadata, spec } of deployments) {
      assert.equal(metadata.namespace, 'tool-wikibot');
      assert.equal(metadata.labels?.['toolforge'], 'tool');
      assert.equal(metadata.labels?.['app.kubernetes.io/managed-by'], 'toolforge-push');
      assert.equal(metadata.labels?.['app.kubernetes.io/created-by'], 'wikibot');
      assert.equal(metadata.labels?.['app.kubernetes.io/name'], 'wikibot');
      assert.equal(metadata.labels?.['app.kubernetes.io/instance'], metadata.name);
      assert.equal(metadata.labels?.['app.kubernetes.io/version'], 'v42');
      assert.equal(metadata.labels?.['push.toolforge.org/version'], '42');
      // The selector of an object cannot change, and objects of earlier versions of the server have other values.
      assert.deepEqual(
        Object.keys(spec?.selector.matchLabels ?? {}).filter((name) => name.startsWith('app.')),
        [],
      );
      for (const [name, value] of Object.entries(spec?.selector.matchLabels ?? {})) {
        assert.equal(spec?.template.metadata?.labels?.[name], value, name);
      }
      assert.deepEqual(spec?.strategy, {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
      });
    }
    assert.equal(deployments[0]?.metadata.labels?.['app.kubernetes.io/component'], 'web');
    assert.equal(deployments[1]?.metadata.labels?.['app.kubernetes.io/component'], 'deployments');
  });

  test('a tool’s container has its image by digest, the launcher as its command, and the name that Toolforge uses', () => {
    const { container } = webPod();
    assert.equal(container.name, 'job');
    assert.equal(container.image, 'registry.example.org/tool-wikibot/tool-wikibot@sha256:0123');
    assert.deepEqual(container.command, ['/cnb/process/web']);
    assert.equal(container.args, undefined);
  });

  test('a tool’s pods pass Pod Security `restricted` and hold no service account token', () => {
    const { pod, container } = webPod();
    assert.equal(pod.automountServiceAccountToken, false);
    assert.equal(pod.securityContext?.runAsNonRoot, true);
    assert.deepEqual(pod.securityContext?.seccompProfile, { type: 'RuntimeDefault' });
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    });
    assert.deepEqual(Object.keys(pod.volumes?.[0] ?? {}).sort(), ['emptyDir', 'name']);
  });

  for (const { name, pod_uid, uid } of [
    { name: "the image's own user", pod_uid: 0, uid: undefined },
    { name: "pod_uid plus the tool's number", pod_uid: 50_000, uid: 50_007 },
  ]) {
    test(`a tool’s pods run as the user that pod_uid selects: ${name}`, () => {
      const { securityContext } = webPod({}, { pod_uid }).pod;
      assert.equal(securityContext?.runAsUser, uid);
      assert.equal(securityContext?.runAsGroup, uid);
      assert.equal(securityContext?.fsGroup, uid);
    });
  }

  test('a named command has a Deployment only if it is kept running, and a rollout without Deployments needs no Secret', () => {
    const command = { ...worker, replicas: 0 };
    const names = (made: ReturnType<typeof objects>) =>
      made.deployments.map(({ metadata, spec }) => [metadata.name, spec?.replicas]);
    assert.deepEqual(names(objects({ processes: [web, command] })), [['web-v42-k3x9q', 1]]);
    const kept = objects({ processes: [command], replicas: { worker: 2 } });
    assert.deepEqual(names(kept), [['worker-v42-k3x9q', 2]]);
    assert.notEqual(kept.config, null);
    assert.deepEqual(objects({ processes: [command] }), { config: null, deployments: [] });
  });

  test('a tool’s config vars are only in the Secret of its rollout', () => {
    const made = objects({ configVars: { API_KEY: 'geheim', UMLAUT: 'ü' } });
    assert.equal(made.config?.metadata.name, 'config-v42-k3x9q');
    assert.equal(Buffer.from(made.config?.data?.['UMLAUT'] ?? '', 'base64').toString(), 'ü');
    assert.doesNotMatch(JSON.stringify(made.deployments), /geheim/);
    assert.deepEqual(webPod().container.envFrom, [{ secretRef: { name: 'config-v42-k3x9q' } }]);
  });

  test('only a web process gets PORT; a config var overrides a default variable, but not PORT', () => {
    assert.equal(variables({})['PORT'], '8000');
    assert.equal(variables({})['TOOL_DATA_DIR'], '/data/project/wikibot');
    assert.equal(variables({ configVars: { PORT: '1', LANG: 'de_DE.UTF-8' } })['PORT'], '8000');
    assert.ok(!('LANG' in variables({ configVars: { LANG: 'de_DE.UTF-8' } })));
    const [, second] = objects().deployments;
    assert.ok(second?.spec?.template.spec?.containers[0]?.env?.every(({ name }) => name !== 'PORT'));
  });

  test('a variable of build_environment that looks like a reference to another variable reaches the process unchanged', () => {
    assert.equal(variables({}, { build_environment: { A: 'x$(PORT)' } })['A'], 'x$$(PORT)');
  });

  for (const { name, settings, memory, cpu, reserved } of [
    { name: 'nothing', settings: {}, memory: '512Mi', cpu: '1000m', reserved: '512Mi' },
    {
      name: 'less',
      settings: { memoryBytes: 128 * MIB, cpuCores: 0.25 },
      memory: '128Mi',
      cpu: '250m',
      reserved: '128Mi',
    },
    {
      name: 'too much',
      settings: { memoryBytes: 8192 * MIB, cpuCores: 16 },
      memory: '512Mi',
      cpu: '1000m',
      reserved: '512Mi',
    },
  ]) {
    test(`a pod’s memory and processor time stay within the operator’s limits if its tool asks for ${name}`, () => {
      const { resources } = webPod({ service: { healthCheckPath: null, ...settings } }).container;
      assert.deepEqual(resources, {
        limits: { cpu, memory, 'ephemeral-storage': '2048Mi' },
        requests: { cpu: '100m', memory: reserved, 'ephemeral-storage': '100Mi' },
      });
    });
  }

  test('threat 60: a tool that asks for nearly no processor time gets a limit, because Kubernetes takes 0 for no limit', () => {
    const { resources } = webPod({ service: { healthCheckPath: null, cpuCores: 0.0001 } }).container;
    assert.deepEqual([resources?.limits?.['cpu'], resources?.requests?.['cpu']], ['1m', '1m']);
  });

  test('by default, half of a memory limit above 512 MiB is reserved for its pod', () => {
    const { resources } = webPod({}, { run_memory: 2048 * MIB }).container;
    assert.equal(resources?.requests?.['memory'], '1024Mi');
  });

  test('a pod reserves the percentage of its memory limit that pod_memory_reserved sets', () => {
    const { resources } = webPod({}, { pod_memory_reserved: 25 }).container;
    assert.deepEqual([resources?.requests?.['memory'], resources?.limits?.['memory']], ['128Mi', '512Mi']);
  });

  for (const { name, changed, reserved } of [
    { name: 'no limit', changed: { pod_disk: 0 }, reserved: '100Mi' },
    { name: 'a limit below the reservation', changed: { pod_disk: 50 * MIB }, reserved: '50Mi' },
    { name: 'nothing reserved', changed: { pod_disk_reserved: 0 }, reserved: '0Mi' },
  ]) {
    test(`a pod reserves the disk space of pod_disk_reserved, but never more than pod_disk allows: ${name}`, () => {
      const { resources } = webPod({}, changed).container;
      assert.equal(resources?.requests?.['ephemeral-storage'], reserved);
    });
  }

  test('the liveness probe of a web process only connects to its port, and fails only after more than ten minutes', () => {
    for (const path of [null, '/healthz']) {
      const { livenessProbe } = webPod({ service: { healthCheckPath: path } }).container;
      assert.deepEqual(livenessProbe?.tcpSocket, { port: 8000 });
      assert.equal(livenessProbe?.httpGet, undefined);
      const { periodSeconds = 10, failureThreshold = 3 } = livenessProbe ?? {};
      assert.ok(periodSeconds * failureThreshold > 600);
    }
  });

  test('a disruption budget lets the drain of a node end one pod of a process at a time, and never blocks the drain', () => {
    const { deployments } = objects({ service: { healthCheckPath: null, replicas: 3 } });
    const [deployment] = deployments;
    assert.ok(deployment !== undefined);
    const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name, uid: 'u' };
    const { metadata, spec } = disruptionBudget(deployment, owner);
    assert.deepEqual(spec, {
      maxUnavailable: 1,
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector: deployment.spec?.selector,
    });
    assert.deepEqual((metadata as V1ObjectMeta).ownerReferences, [owner]);
  });

  test('the readiness probe asks the health check path if there is one, and otherwise connects to the port', () => {
    const port = webPod().container;
    assert.deepEqual(port.readinessProbe?.tcpSocket, { port: 8000 });
    assert.equal(port.startupProbe?.periodSeconds, 1);
    assert.ok((port.startupProbe?.failureThreshold ?? 0) >= 120);
    const path = webPod({ service: { healthCheckPath: '/healthz' } }).container;
    assert.equal(path.readinessProbe?.httpGet?.path, '/healthz');
    assert.deepEqual(path.readinessProbe?.httpGet?.httpHeaders, [
      { name: 'Host', value: 'wikibot.toolforge.org' },
    ]);
    assert.equal(path.readinessProbe?.tcpSocket, undefined);
    assert.equal(objects().deployments[1]?.spec?.template.spec?.containers[0]?.readinessProbe, undefined);
  });

  test('only the pods of a tool have the port that the tool asks for; the Service keeps the port 8000, and finds the pods’ port by its name', () => {
    const { container } = webPod({ service: { healthCheckPath: '/', port: 8080 } });
    assert.deepEqual(container.ports, [{ name: 'http', containerPort: 8080, protocol: 'TCP' }]);
    assert.equal(container.env?.find(({ name }) => name === 'PORT')?.value, '8080');
    assert.equal(container.readinessProbe?.httpGet?.port, 8080);
    assert.deepEqual(container.livenessProbe?.tcpSocket, { port: 8080 });
    const made = service({ tool: 'wikibot', namespace: 'tool-wikibot', rolloutId: 'k3x9q' });
    assert.deepEqual([made.spec?.ports?.[0]?.port, made.spec?.ports?.[0]?.targetPort], [8000, 'http']);
  });

  test('a health check script runs in the container of its process, with the variables of the buildpacks', () => {
    const asked = {
      ...worker,
      settings: { healthCheckScript: './check $(date)', memoryBytes: 64 * MIB, cpuCores: 0.2 },
    };
    const container = objects({ processes: [asked] }).deployments[0]?.spec?.template.spec?.containers[0];
    const command = ['/cnb/lifecycle/launcher', '--', 'bash', '-c', './check $(date)'];
    assert.deepEqual(container?.startupProbe?.exec?.command, command);
    assert.deepEqual(container?.livenessProbe, {
      ...{ exec: { command }, timeoutSeconds: 5, periodSeconds: 10, failureThreshold: 3 },
    });
    assert.equal(container?.readinessProbe, undefined);
    assert.deepEqual(
      [container?.resources?.limits?.['memory'], container?.resources?.limits?.['cpu']],
      ['64Mi', '200m'],
    );
    const ofWeb = webPod({ service: { healthCheckPath: null, healthCheckScript: './check' } }).container;
    assert.equal(ofWeb.startupProbe?.exec?.command?.at(-1), './check');
    assert.deepEqual(ofWeb.readinessProbe?.tcpSocket, { port: 8000 });
  });

  test('a web pod gets SIGTERM only after 3 s, because requests still come, and then has its whole grace time', () => {
    const { pod, container } = webPod();
    assert.deepEqual(container.lifecycle, { preStop: { sleep: { seconds: 3 } } });
    assert.equal(pod.terminationGracePeriodSeconds, 18);
    assert.equal(objects().deployments[1]?.spec?.template.spec?.terminationGracePeriodSeconds, 15);
  });

  test('`replicas` in service.template applies only to web processes', () => {
    const { deployments } = objects({ service: { healthCheckPath: null, replicas: 3 } });
    assert.deepEqual(
      deployments.map(({ spec }) => spec?.replicas),
      [3, 1],
    );
  });

  test('the command `scale` overrides service.template, and 0 is a valid number of processes', () => {
    const service = { healthCheckPath: null, replicas: 3 };
    const { deployments } = objects({ service, replicas: { web: 0, worker: 2, gone: 5 } });
    assert.deepEqual(
      deployments.map(({ spec }) => spec?.replicas),
      [0, 2],
    );
  });

  test('a tool’s pod mounts dumps and replica.my.cnf read-only if the operator has configured them', () => {
    const { pod, container } = webPod({}, { dumps_claim: 'dumps', replica_secret: 'replica-credentials' });
    const mounts = container.volumeMounts?.filter(({ name }) => name !== 'data');
    assert.deepEqual(
      mounts?.map(({ mountPath, readOnly }) => [mountPath, readOnly]),
      [
        ['/public/dumps', true],
        ['/data/project/wikibot/replica.my.cnf', true],
      ],
    );
    assert.deepEqual(pod.volumes?.find(({ name }) => name === 'dumps')?.persistentVolumeClaim, {
      claimName: 'dumps',
      readOnly: true,
    });
    assert.equal(webPod().pod.volumes?.length, 1);
    const replicaOf = (vars: Record<string, string>) =>
      webPod({ configVars: vars }, { replica_secret: 'replica-credentials' }).container.env?.flatMap(
        ({ name, valueFrom }) => (valueFrom === undefined ? [] : [[name, valueFrom.secretKeyRef]]),
      );
    const from = (key: string) => [key, { name: 'replica-credentials', key, optional: true }];
    assert.deepEqual(replicaOf({}), [from('TOOL_REPLICA_USER'), from('TOOL_REPLICA_PASSWORD')]);
    assert.deepEqual(replicaOf({ TOOL_REPLICA_USER: 'x' }), [from('TOOL_REPLICA_PASSWORD')]);
  });

  test('the Service selects one rollout, and the Ingress has the host of the tool', () => {
    const made = service({ tool: 'wikibot', namespace: 'tool-wikibot', rolloutId: 'k3x9q' });
    assert.equal(made.metadata.name, 'wikibot');
    assert.deepEqual(made.spec?.selector, {
      toolforge: 'tool',
      'push.toolforge.org/rollout': 'k3x9q',
      'push.toolforge.org/process': 'web',
    });
    assert.equal(made.spec?.ports?.[0]?.port, 8000);
    const nobody = service({ tool: 'wikibot', namespace: 'tool-wikibot', rolloutId: null });
    assert.equal(nobody.spec?.selector?.['push.toolforge.org/rollout'], 'none');
    const way = ingress(
      { tool: 'wikibot', namespace: 'tool-wikibot' },
      { ...config, ingress_class: 'nginx' },
    );
    assert.equal(way.metadata.name, 'wikibot-subdomain');
    assert.equal(way.spec?.ingressClassName, 'nginx');
    assert.equal(way.spec?.rules?.[0]?.host, 'wikibot.toolforge.org');
    assert.deepEqual(way.spec?.rules?.[0]?.http?.paths[0]?.backend, {
      service: { name: 'wikibot', port: { number: 8000 } },
    });
  });

  test('the Ingress has the annotations of ingress_annotations and the certificate of ingress_tls_secret', () => {
    const annotations = { 'cert-manager.io/cluster-issuer': 'letsencrypt' };
    const given = { ...config, ingress_annotations: annotations, ingress_tls_secret: 'tls-TOOL' };
    const way = ingress({ tool: 'wikibot', namespace: 'tool-wikibot' }, given);
    assert.deepEqual((way.metadata as V1ObjectMeta).annotations, annotations);
    assert.deepEqual(way.spec?.tls, [{ hosts: ['wikibot.toolforge.org'], secretName: 'tls-wikibot' }]);
    const plain = ingress({ tool: 'wikibot', namespace: 'tool-wikibot' }, config);
    assert.equal(plain.spec?.tls, undefined);
  });

  test('the release command runs as a Job without retries and with a deadline', () => {
    const job = releaseJob({ rollout: rollout(), toolNumber: 7, config }, migrate, 900);
    assert.equal(job.metadata.name, 'release-v42-k3x9q');
    assert.equal(job.spec?.backoffLimit, 0);
    assert.equal(job.spec?.activeDeadlineSeconds, 900);
    assert.equal(job.spec?.template.spec?.restartPolicy, 'Never');
    assert.deepEqual(job.spec?.template.spec?.containers[0]?.command, ['/cnb/process/release']);
    assert.equal(job.spec?.template.spec?.containers[0]?.readinessProbe, undefined);
  });

  test('a namespace that this server creates enforces Pod Security `restricted`', () => {
    const { labels } = toolNamespace('wikibot', 'tool-wikibot').metadata as {
      labels?: Record<string, string>;
    };
    assert.equal(labels?.['pod-security.kubernetes.io/enforce'], 'restricted');
  });

  test('the quota and the default limits of a namespace that this server creates follow the settings', () => {
    const [quota, range] = namespaceLimits('wikibot', 'tool-wikibot', config);
    assert.deepEqual(quota?.spec?.hard, { pods: '64', 'limits.cpu': '64000m', 'limits.memory': '32768Mi' });
    assert.deepEqual(range?.spec?.limits?.[0]?._default, {
      cpu: '1000m',
      memory: '512Mi',
      'ephemeral-storage': '2048Mi',
    });
    assert.deepEqual(namespaceLimits('wikibot', 'tool-wikibot', { ...config, namespace_pods: 0 }), []);
  });
});

describe('names of objects', () => {
  for (const type of ['web', 'my_worker', 'Celery', '-x-', 'a'.repeat(80), '_']) {
    test(`an object of the process type ${type.slice(0, 20)} has a name that Kubernetes accepts`, () => {
      const name = objectName(type, { ...rollout(), id: newRolloutId() });
      // The name of a pod is this name, a dash, up to ten letters, a dash and five letters.
      assert.match(name, /^[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?$/);
    });
  }

  test('two process types get different object names even if they differ only in characters that Kubernetes forbids', () => {
    const names = ['a-b', 'a_b', 'A-b'].map((type) => objectName(type, rollout()));
    assert.equal(new Set(names).size, 3);
  });

  test('a process type that is not a valid label gets a label of its own, so the process gets no HTTP requests meant for web', () => {
    const long = 'a'.repeat(62);
    const labels = ['web', 'web-', 'web_', 'release', 'release--', `${long}-`, `${long}_`].map(labelValue);
    assert.equal(new Set(labels).size, labels.length);
    for (const label of labels) assert.match(label, /^[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?$/);
    const { deployments } = objects({ processes: [web, { ...worker, type: 'web-' }] });
    const made = service({ tool: 'wikibot', namespace: 'tool-wikibot', rolloutId: 'k3x9q' });
    const selector = made.spec?.selector ?? {};
    const served = deployments.filter(({ spec }) =>
      Object.entries(selector).every(([name, value]) => spec?.template.metadata?.labels?.[name] === value),
    );
    assert.equal(served.length, 1);
  });

  test('threat 99: the pods of a preview do not mount the Secret of its tool, and the CronJobs of a preview have names of their own', () => {
    const schedule = { text: '@daily', cron: '7 3 * * *', retry: 0, timeoutSeconds: null };
    const timed = { ...worker, type: 'a-long-name-for-a-nightly-job', schedule };
    const whole = rollout({ processes: [web, timed] });
    const tool = `${'x'.repeat(54)}--wikibot` as ToolName;
    const preview = { ...whole, release: { ...whole.release, tool }, previewOf: 'wikibot' as ToolName };
    const made = [whole, preview].map((one) => {
      const options = { rollout: one, toolNumber: 7, config: { ...config, replica_secret: 'replica' } };
      return { ...rolloutObjects(options), schedules: cronJobs(options) };
    });
    const mounts = made.map(({ deployments, schedules }) =>
      [...deployments, ...schedules].map((one) => JSON.stringify(one).includes('"secretName":"replica"')),
    );
    assert.deepEqual(mounts, [
      [true, true],
      [false, false],
    ]);
    const names = made.flatMap(({ schedules }) => schedules.map(({ metadata }) => metadata.name));
    assert.equal(new Set(names).size, 2);
    for (const name of names) assert.match(name, /^[a-z][-a-z0-9]{0,50}[a-z0-9]$/);
  });

  test('a tool whose name cannot be part of a namespace’s name is refused', () => {
    assert.equal(namespaceOf('wikibot', 'tool-'), 'tool-wikibot');
    for (const tool of ['with_underscore', 'x'.repeat(62)]) {
      assert.throws(
        () => namespaceOf(tool, 'tool-'),
        (error) => error instanceof DeployError && error.code === 'NO_NAMESPACE',
      );
    }
  });

  for (const [text, expected] of [
    ['500m', 500],
    ['1', 1000],
    ['0.25', 250],
  ] as const) {
    test(`the setting “${text}” for processor time is converted to thousandths of a core`, () =>
      assert.equal(milliCores(text), expected));
  }
});
