import type { V1Container, V1Job, V1JobSpec } from '@kubernetes/client-node';
import type { Applied } from '../../kubernetes/applying.ts';
import { type BuildVolume, mountsOf, volumesOf } from './volumes.ts';

/** The steps of a build, in order; each is a container of its own. */
export const PHASES = ['fetch', 'analyze', 'detect', 'restore', 'build', 'export'] as const;
export type Phase = (typeof PHASES)[number];

/** Everything that makes one build's Job: the same facts give the same object. */
export interface BuildJob {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What a server must know that takes the build up (taken-up.ts). */
  readonly annotations: Readonly<Record<string, string>>;
  /** By digest where it is known. */
  readonly builderImage: string;
  /** Of the builder image. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** Empty: the one that the builder image names. */
  readonly runImage: string;
  /** With a tag of this build alone. */
  readonly image: string;
  /** The tag of the newest build: what layers are taken over from. */
  readonly newestImage: string;
  readonly cacheImage: string;
  readonly useCache: boolean;
  /** Registries that speak HTTP without TLS. */
  readonly plainHttpHosts: readonly string[];
  readonly sourceUrl: string;
  readonly secrets: {
    /** `authorization`, a header with the token; `project-metadata.toml`. */
    readonly build: string;
    /** A key for each variable of the platform. */
    readonly platform: string;
    /** Of type dockerconfigjson; null = the registry wants no login. */
    readonly registry: string | null;
    /** For the kubelet, which pulls the builder image; null = that is public. */
    readonly pull: string | null;
  };
  readonly limits: {
    readonly cpuMillis: number;
    readonly memoryBytes: number;
    readonly diskBytes: number;
    readonly seconds: number;
  };
  /** Seconds since 1970. */
  readonly startedAt: number;
}

/** No phase that runs buildpacks is among those that see the registry's credential. */
const VOLUMES: Readonly<Record<Phase, readonly BuildVolume[]>> = {
  fetch: ['workspace', 'source'],
  analyze: ['layers', 'control', 'registry'],
  detect: ['workspace', 'layers (read-only)', 'control (read-only)', 'detected', 'platform'],
  restore: ['layers', 'control', 'detected (read-only)', 'registry'],
  build: ['workspace', 'layers', 'control (read-only)', 'detected (read-only)', 'platform'],
  export: ['workspace', 'layers', 'control', 'detected (read-only)', 'registry', 'about'],
};

// The newest that has all that is used here (insecure registries) and that older builders know as well.
const PLATFORM_API = '0.13';
const CONTROL = ['control/analyzed', 'detected/group', 'detected/plan'].map(
  (path) => [`-${path.split('/')[1]}`, `/${path}.toml`] as const,
);

/**
 * The Job of a build. It is made suspended, so that its Secrets can be made as its own before the pod starts.
 *
 * @see https://github.com/buildpacks/spec/blob/main/platform.md
 */
export function buildJob(job: BuildJob): Applied<V1Job> & { readonly spec: V1JobSpec } {
  const containers = PHASES.map((phase) => container(job, phase));
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: job.name,
      namespace: job.namespace,
      labels: { ...job.labels },
      annotations: { ...job.annotations },
    },
    spec: {
      suspend: true,
      backoffLimit: 0,
      activeDeadlineSeconds: job.limits.seconds,
      // Whoever follows it removes it. So long it waits for a server that is away, and that takes it up.
      ttlSecondsAfterFinished: 3600,
      template: {
        metadata: { labels: { ...job.labels } },
        spec: {
          restartPolicy: 'Never',
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 1,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: job.user.uid,
            runAsGroup: job.user.gid,
            fsGroup: job.user.gid,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          ...(job.secrets.pull === null ? {} : { imagePullSecrets: [{ name: job.secrets.pull }] }),
          initContainers: containers.slice(0, -1),
          containers: containers.slice(-1),
          volumes: volumesOf(job),
        },
      },
    },
  };
}

function container(job: BuildJob, phase: Phase): V1Container {
  const { cpuMillis, memoryBytes, diskBytes } = job.limits;
  const environment: Record<string, string> = {
    CNB_PLATFORM_API: PLATFORM_API,
    ...(phase === 'fetch' ? { SOURCE_URL: job.sourceUrl } : {}),
    ...(phase === 'export' ? { SOURCE_DATE_EPOCH: String(job.startedAt) } : {}),
    ...(VOLUMES[phase].includes('registry') ? { DOCKER_CONFIG: '/registry' } : {}),
  };
  return {
    name: phase,
    image: job.builderImage,
    imagePullPolicy: job.builderImage.includes('@') ? 'IfNotPresent' : 'Always',
    command: commandOf(job, phase),
    workingDir: '/',
    env: Object.entries(environment).map(([name, value]) => ({ name, value })),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    },
    resources: {
      // An eighth: most builds need little, and a node takes several; what one may take at most is the limit.
      requests: {
        cpu: `${Math.ceil(cpuMillis / 8)}m`,
        memory: String(Math.ceil(memoryBytes / 8)),
        'ephemeral-storage': String(Math.ceil(diskBytes / 8)),
      },
      limits: { cpu: `${cpuMillis}m`, memory: String(memoryBytes), 'ephemeral-storage': String(diskBytes) },
    },
    volumeMounts: mountsOf(VOLUMES[phase], job),
  };
}

/** Flags that go through: `-app /workspace`. */
function commandOf(job: BuildJob, phase: Phase): string[] {
  const lifecycle = (program: string, ...rest: string[]) => [
    `/cnb/lifecycle/${program}`,
    '-no-color',
    '-layers',
    '/layers',
    ...rest,
  ];
  const user = ['-uid', String(job.user.uid), '-gid', String(job.user.gid)];
  const registry = job.plainHttpHosts.flatMap((host) => ['-insecure-registry', host]);
  const control = (...names: string[]) =>
    CONTROL.filter(([flag]) => names.includes(flag.slice(1))).flatMap((pair) => [...pair]);
  const app = ['-app', '/workspace'];
  const platform = ['-platform', '/platform'];
  // What it did is worth a line to people only where it went wrong; the builder's own words mark whose output is whose.
  const telling = ['-log-level', 'debug'];
  const cache = ['-cache-image', job.cacheImage];
  switch (phase) {
    case 'fetch':
      return ['/bin/bash', '-euo', 'pipefail', '-c', FETCH];
    case 'analyze': {
      const run = job.runImage === '' ? [] : ['-run-image', job.runImage];
      const previous = job.useCache ? ['-previous-image', job.newestImage] : ['-skip-layers'];
      const rest = [...user, ...registry, ...control('analyzed'), ...run, ...previous, ...cache];
      return lifecycle('analyzer', ...rest, '-tag', job.newestImage, job.image);
    }
    case 'detect':
      return lifecycle('detector', ...telling, ...app, ...platform, ...control('analyzed', 'group', 'plan'));
    case 'restore': {
      const from = job.useCache ? cache : ['-skip-layers'];
      return lifecycle('restorer', ...user, ...registry, ...control('analyzed', 'group'), ...from);
    }
    case 'build':
      return lifecycle('builder', ...telling, ...app, ...platform, ...control('analyzed', 'group', 'plan'));
    case 'export':
      return lifecycle(
        'exporter',
        ...[...user, ...registry, ...app, ...control('analyzed', 'group'), ...cache, '-parallel'],
        // Its report is the message that the container leaves behind: the digest of this image and no other.
        ...['-report', '/dev/termination-log', '-project-metadata', '/about/project-metadata.toml'],
        ...[job.image, job.newestImage],
      );
    default:
      return phase satisfies never;
  }
}

/** A source that breaks off must not build: curl says so, and pipefail hears it. */
const FETCH = `
unpack() { tar --extract --file=- --no-same-owner --directory=/workspace; }
if command -v curl >/dev/null; then
  curl --fail --silent --show-error --connect-timeout 20 --max-time 600 --header @/source/authorization "$SOURCE_URL" | unpack
elif command -v python3 >/dev/null; then
  python3 -c 'import os, shutil, sys, urllib.request as u
header = open("/source/authorization").read().strip().split(": ", 1)
shutil.copyfileobj(u.urlopen(u.Request(os.environ["SOURCE_URL"], headers=dict([header])), timeout=60), sys.stdout.buffer)' | unpack
else
  echo 'the builder image has neither curl nor python3'
  exit 1
fi`;
