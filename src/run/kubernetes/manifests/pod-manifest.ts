import { createHash } from 'node:crypto';
import type {
  V1Container,
  V1EnvVar,
  V1PodSpec,
  V1PodTemplateSpec,
  V1Probe,
  V1Volume,
  V1VolumeMount,
} from '@kubernetes/client-node';
import { releaseVariables } from '../../../core/names.ts';
import type { Process, Release } from '../../../core/types.ts';
import { SCRIPT_FAILURES, SCRIPT_PERIOD_SECONDS, SCRIPT_SECONDS } from '../../health/script-check.ts';
import { settingsOf } from '../../service-limits.ts';
import type { ManifestConfig } from './manifest-config.ts';
import {
  COMPONENT,
  CONTAINER,
  configName,
  LABELS,
  MANAGED_BY,
  objectName,
  type Rollout,
  SCHEDULED,
} from './object-names.ts';
import { podResources } from './pod-resources.ts';

export interface PodOptions {
  readonly rollout: Rollout;
  readonly process: Process;
  readonly toolNumber: number;
  readonly config: ManifestConfig;
}

/** The port of the tool's Service, and the value of PORT unless the tool asks for another port. */
export const WEB_PORT = 8000;
/** The name of the port that a web process listens on. */
export const PORT_NAME = 'http';

/** The port that the web process of a release listens on. */
export function webPort({ artifact }: Release): number {
  return artifact.service.port ?? WEB_PORT;
}

const DATA = 'data';
const REPLICA_FILE = 'replica.my.cnf';

/** Returns the labels for the objects of one process of a rollout. */
export function labelsOf(rollout: Rollout, type: string): Record<string, string> {
  const { release, id } = rollout;
  return {
    ...toolLabels(release.tool),
    [COMPONENT]: type === 'web' ? 'web' : 'deployments',
    'app.kubernetes.io/instance': objectName(type, rollout),
    'app.kubernetes.io/version': `v${release.version}`,
    [LABELS.version]: String(release.version),
    [LABELS.rollout]: id,
    [LABELS.process]: labelValue(type),
  };
}

/**
 * Returns the labels of a scheduled process. Only the label `COMPONENT` differs from the labels of other processes. Its
 * value is the same as for Toolforge's scheduled jobs.
 */
export function scheduledLabels(rollout: Rollout, type: string): Record<string, string> {
  return { ...labelsOf(rollout, type), [COMPONENT]: SCHEDULED };
}

/** Returns the labels that all objects of a tool have. */
export function toolLabels(tool: string): Record<string, string> {
  return {
    toolforge: 'tool',
    // No selector uses this label: selectors cannot change, and the label's value was the process type until 2026.
    'app.kubernetes.io/name': tool,
    'app.kubernetes.io/managed-by': MANAGED_BY,
    'app.kubernetes.io/created-by': tool,
    [LABELS.tool]: tool,
  };
}

/**
 * Returns the label value of a process type. A label value begins and ends with a letter or digit, and has at most 63
 * characters. Types that break these rules get a full stop and a hash at the end. No type contains a full stop, so
 * `web-` cannot become `web`, the type that gets the requests.
 */
export function labelValue(type: string): string {
  const plain = type.slice(0, 63).replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
  if (plain === type) return type;
  const hash = createHash('sha256').update(type).digest('hex').slice(0, 6);
  return `${plain.slice(0, 56)}.${hash}`;
}

/** Returns the template of a pod that runs one process. The template passes Pod Security `restricted`. */
export function podTemplate(options: PodOptions, restartPolicy: 'Always' | 'Never'): V1PodTemplateSpec {
  const { rollout, process, config } = options;
  const labels =
    process.schedule === undefined ? labelsOf(rollout, process.type) : scheduledLabels(rollout, process.type);
  // The Secret `replica_secret` in the namespace belongs to the tool, so a preview does not get it.
  const own = rollout.previewOf === undefined ? config : { ...config, replica_secret: '' };
  return { metadata: { labels }, spec: podSpec({ ...options, config: own }, restartPolicy) };
}

function podSpec(options: PodOptions, restartPolicy: 'Always' | 'Never'): V1PodSpec {
  const { config, process, rollout } = options;
  const { grace_time } = config;
  const pauseSeconds = process.type === 'web' ? preStopSeconds(config) : 0;
  return {
    restartPolicy,
    terminationGracePeriodSeconds: pauseSeconds + Math.ceil(grace_time / 1000),
    ...confinement(options),
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'kubernetes.io/hostname',
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: {
          matchLabels: { [LABELS.rollout]: rollout.id, [LABELS.process]: labelValue(process.type) },
        },
      },
    ],
    containers: [container(options, restartPolicy, pauseSeconds)],
    volumes: volumes(config),
  };
}

/** Returns the fields of a pod that let the cluster pull the image, and give the tool no rights in the cluster. */
export function confinement({
  toolNumber,
  config: { pod_uid, image_pull_secrets },
}: Pick<PodOptions, 'toolNumber' | 'config'>): Omit<V1PodSpec, 'containers'> {
  const uid = pod_uid === 0 ? null : pod_uid + toolNumber;
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
      ...(uid === null ? {} : { runAsUser: uid, runAsGroup: uid, fsGroup: uid }),
    },
    ...(image_pull_secrets.length === 0
      ? {}
      : { imagePullSecrets: image_pull_secrets.map((name) => ({ name })) }),
  };
}

function container(
  options: PodOptions,
  restartPolicy: 'Always' | 'Never',
  pauseSeconds: number,
): V1Container {
  const { config, process, rollout } = options;
  const { release } = rollout;
  const isWeb = process.type === 'web';
  return {
    name: CONTAINER,
    image: release.artifact.reference,
    imagePullPolicy: 'IfNotPresent',
    ...launch(process),
    envFrom: [{ secretRef: { name: configName(rollout) } }],
    env: environment(options),
    ...(isWeb ? { ports: [{ name: PORT_NAME, containerPort: webPort(release), protocol: 'TCP' }] } : {}),
    ...(restartPolicy === 'Always' ? probes(release, process.type, config) : {}),
    // The kubelet waits this long before it ends the process. Meanwhile, proxies that still send requests to the pod
    // learn that the pod is ending.
    ...(pauseSeconds > 0 ? { lifecycle: { preStop: { sleep: { seconds: pauseSeconds } } } } : {}),
    resources: podResources(release, process.type, config),
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    volumeMounts: volumeMounts(release.tool, config),
    terminationMessagePolicy: 'File',
  };
}

/**
 * Returns the container's command and arguments, which start the process through the buildpacks' launcher.
 *
 * @see https://github.com/buildpacks/spec/blob/main/platform.md#launcher
 */
function launch({ type, command, launchedAs }: Process): Pick<V1Container, 'command' | 'args'> {
  if (launchedAs !== null) return { command: [`/cnb/process/${launchedAs ?? type}`] };
  return { command: ['/cnb/lifecycle/launcher'], args: ['--', ...command.map(literal)] };
}

/**
 * Returns the variables that a container gets in addition to the config vars in the Secret. These variables override
 * the config vars, so a default with the name of a config var is left out.
 */
function environment({ rollout: { release }, process, config }: PodOptions): V1EnvVar[] {
  const home = dataFolder(release.tool);
  const defaults = {
    LANG: 'C.UTF-8',
    HOME: home,
    TOOL_DATA_DIR: home,
    ...releaseVariables(release),
    ...config.build_environment,
    ...release.artifact.variables,
  };
  const fixed = process.type === 'web' ? { PORT: String(webPort(release)) } : {};
  const wanted = Object.entries(defaults).filter(([name]) => !(name in release.configVars));
  const given = new Set([...Object.keys(defaults), ...Object.keys(release.configVars)]);
  return [
    ...[...wanted, ...Object.entries(fixed)].map(([name, value]) => ({ name, value: literal(value) })),
    ...replicaVariables(config).filter(({ name }) => !given.has(name)),
  ];
}

/**
 * Returns the variables with the user and the password for Toolforge's database replicas. Kubernetes leaves out a
 * variable if the Secret `replica_secret` has no key of this name.
 */
function replicaVariables({ replica_secret: secret }: ManifestConfig): V1EnvVar[] {
  if (secret === '') return [];
  return ['TOOL_REPLICA_USER', 'TOOL_REPLICA_PASSWORD'].map((name) => ({
    name,
    valueFrom: { secretKeyRef: { name: secret, key: name, optional: true } },
  }));
}

/**
 * Escapes a text for a value or command in a manifest. There, Kubernetes replaces `$(NAME)` by a variable, and `$$` by
 * `$`.
 */
export function literal(value: string): string {
  return value.replaceAll('$', () => '$$');
}

function probes(
  release: Release,
  type: string,
  config: ManifestConfig,
): Pick<V1Container, 'startupProbe' | 'readinessProbe' | 'livenessProbe'> {
  // With this threshold, the rollout fails before the kubelet would restart the process.
  const failureThreshold = Math.ceil(config.health_time / 1000) + 10;
  const { healthCheckScript: script } = settingsOf(release, type);
  const ofScript = script === undefined ? {} : scriptProbes(script, failureThreshold);
  if (type !== 'web') return ofScript;
  const path = release.artifact.service.healthCheckPath;
  const port = webPort(release);
  const look: V1Probe =
    path === null
      ? { tcpSocket: { port } }
      : {
          httpGet: { path, port, httpHeaders: [{ name: 'Host', value: `${release.tool}.${config.domain}` }] },
        };
  return {
    // A process may load the tool at its first request. So an answer may take up to 30 s until the process is up.
    startupProbe: { ...look, periodSeconds: 1, timeoutSeconds: 30, failureThreshold },
    readinessProbe: { ...look, periodSeconds: 10, timeoutSeconds: 10, failureThreshold: 3 },
    // This probe only opens a connection, which the kernel accepts even while the process is too busy to answer. So the
    // probe restarts a process only if no connection succeeds for a quarter of an hour.
    livenessProbe: { tcpSocket: { port }, periodSeconds: 60, timeoutSeconds: 30, failureThreshold: 15 },
    ...ofScript,
  };
}

/** Returns the probes that run a health check script. The launcher gives the script the variables of the buildpacks. */
function scriptProbes(
  script: string,
  failureThreshold: number,
): Pick<V1Container, 'startupProbe' | 'livenessProbe'> {
  const look = {
    exec: { command: ['/cnb/lifecycle/launcher', '--', 'bash', '-c', script] },
    timeoutSeconds: SCRIPT_SECONDS,
  };
  return {
    startupProbe: { ...look, periodSeconds: 1, failureThreshold },
    livenessProbe: { ...look, periodSeconds: SCRIPT_PERIOD_SECONDS, failureThreshold: SCRIPT_FAILURES },
  };
}

function volumes({ dumps_claim, replica_secret }: ManifestConfig): V1Volume[] {
  return [
    { name: DATA, emptyDir: {} },
    ...(dumps_claim === ''
      ? []
      : [{ name: 'dumps', persistentVolumeClaim: { claimName: dumps_claim, readOnly: true } }]),
    ...(replica_secret === ''
      ? []
      : [
          {
            name: 'replica',
            secret: { secretName: replica_secret, items: [{ key: REPLICA_FILE, path: REPLICA_FILE }] },
          },
        ]),
  ];
}

function volumeMounts(tool: string, { dumps_claim, replica_secret }: ManifestConfig): V1VolumeMount[] {
  const home = dataFolder(tool);
  return [
    { name: DATA, mountPath: home },
    ...(dumps_claim === '' ? [] : [{ name: 'dumps', mountPath: '/public/dumps', readOnly: true }]),
    ...(replica_secret === ''
      ? []
      : [
          {
            name: 'replica',
            mountPath: `${home}/${REPLICA_FILE}`,
            subPath: REPLICA_FILE,
            readOnly: true,
          },
        ]),
  ];
}

function dataFolder(tool: string): string {
  return `/data/project/${tool}`;
}

/** Returns for how many seconds a web process that is ending may still get requests. */
export function preStopSeconds({ ingress_time }: Pick<ManifestConfig, 'ingress_time'>): number {
  return Math.ceil(ingress_time / 1000) + 1;
}
