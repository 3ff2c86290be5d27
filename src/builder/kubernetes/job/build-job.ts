import type { V1Container, V1Job, V1JobSpec } from '@kubernetes/client-node';
import type { Applied } from '../../../kubernetes/apply.ts';
import { type OwnBuildpacks, ownIds } from '../../buildpack-api/own-buildpacks.ts';
import { type BuildVolume, type MountedSecrets, mountsOf, volumesOf } from './build-volumes.ts';
import { ownBuildpackOptions, withOwnBuildpackFolder } from './own-buildpacks-script.ts';

/** The steps of a build, in order. Each runs in a container of its own. The container `build` detects first. */
export const PHASES = ['fetch', 'build', 'export'] as const;
export type Phase = (typeof PHASES)[number];
/** The steps of a rebase, which runs no code of a tool. */
const REBASE_PHASES: readonly Phase[] = ['export'];
/**
 * The steps of an inspection (`Builder.inspect`), which builds nothing: its container `build` only detects buildpacks.
 */
const INSPECTION_PHASES: readonly Phase[] = ['fetch', 'build'];

export function phasesOf(job: Pick<BuildJob, 'rebaseOf' | 'isInspection'>): readonly Phase[] {
  if (job.isInspection) return INSPECTION_PHASES;
  return job.rebaseOf === null ? PHASES : REBASE_PHASES;
}

/**
 * The exit status of the container `fetch` if it cannot fetch the source. No program of the lifecycle exits with this
 * status.
 */
export const NO_SOURCE = 200;

/** Everything that defines the Job of one build. */
export interface BuildJob {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The facts with which a later server can resume the build (resumable-jobs.ts). */
  readonly annotations: Readonly<Record<string, string>>;
  /** The reference to the builder image, by its digest if the digest is known. */
  readonly builderImage: string;
  /** The user of the builder image under which the build runs. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** The run image: the base of the image to make. Empty = the run image that the builder image names. */
  readonly runImage: string;
  /** The image to make, with the build's id as its tag. */
  readonly image: string;
  /**
   * The tag of the tool's newest image. A build reuses the layers of this image if `useCache` is true. At its end, the
   * build or rebase moves the tag to its own image.
   */
  readonly newestImage: string;
  readonly cacheImage: string;
  readonly useCache: boolean;
  /** The image to put onto the newest run image. Null if the Job builds a source. */
  readonly rebaseOf: string | null;
  /** True if the Job only detects buildpacks and makes no image. */
  readonly isInspection: boolean;
  /** The hosts of registries that use HTTP without TLS. */
  readonly plainHttpHosts: readonly string[];
  readonly sourceUrl: string;
  /** The buildpacks that the tool brings in its source. */
  readonly own: OwnBuildpacks;
  readonly secrets: MountedSecrets & {
    /** The Secret with which the kubelet pulls the builder image; null = this image is public. */
    readonly pull: string | null;
  };
  readonly limits: {
    readonly cpuMillis: number;
    readonly memoryBytes: number;
    readonly diskBytes: number;
    readonly seconds: number;
  };
  /** When the build started, in seconds since 1970. */
  readonly startedAt: number;
}

/**
 * The volumes that each phase sees. The phase `build`, which runs buildpacks, does not see the registry's credential.
 */
const VOLUMES: Readonly<Record<Phase, readonly BuildVolume[]>> = {
  fetch: ['workspace', 'source', 'layers', 'control', 'registry'],
  build: ['workspace', 'layers', 'control (read-only)', 'detected', 'platform'],
  export: ['workspace', 'layers', 'control', 'detected (read-only)', 'registry', 'about'],
};

// The version of the Platform API that a build uses. This version has the option `-insecure-registry`, and older
// builder images also support it.
const PLATFORM_API = '0.13';
const ANALYZED = '/control/analyzed.toml';
const CONTROL = ['control/analyzed', 'detected/group', 'detected/plan'].map(
  (path) => [`-${path.split('/')[1]}`, `/${path}.toml`] as const,
);

/**
 * Returns the Job of a build. It starts suspended, so that the Secrets that it owns can be made before its pod.
 *
 * @see https://github.com/buildpacks/spec/blob/main/platform.md
 */
export function buildJob(job: BuildJob): Applied<V1Job> & { readonly spec: V1JobSpec } {
  const containers = phasesOf(job).map((phase) => container(job, phase));
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
      // If no server deletes the Job, the cluster deletes it an hour after it has ended. Until then, the next server
      // can resume the build.
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
          volumes: volumesOf(job.secrets, job.limits.diskBytes),
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
      // The container requests only an eighth of its limits, because most builds need little, so a node can run
      // several.
      requests: {
        cpu: `${Math.ceil(cpuMillis / 8)}m`,
        memory: String(Math.ceil(memoryBytes / 8)),
        'ephemeral-storage': String(Math.ceil(diskBytes / 8)),
      },
      limits: { cpu: `${cpuMillis}m`, memory: String(memoryBytes), 'ephemeral-storage': String(diskBytes) },
    },
    volumeMounts: mountsOf(VOLUMES[phase], job.secrets),
  };
}

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
  // Only the debug level prints each detection's output, and marks which lines come from which buildpack.
  const telling = ['-log-level', 'debug'];
  const cache = ['-cache-image', job.cacheImage];
  switch (phase) {
    case 'fetch': {
      const run = job.runImage === '' ? [] : ['-run-image', job.runImage];
      const previous = job.useCache ? ['-previous-image', job.newestImage] : ['-skip-layers'];
      const rest = [...user, ...registry, ...control('analyzed'), ...run, ...previous, ...cache];
      const analyzer = lifecycle('analyzer', ...rest, '-tag', job.newestImage, job.image);
      const group = ['-group', EARLIER_BUILDPACKS];
      const restorer = lifecycle(
        'restorer',
        ...user,
        ...registry,
        ...control('analyzed'),
        ...group,
        ...cache,
      );
      const restoring = job.useCache && !job.isInspection ? [ownIds(job.own).join(' '), ...restorer] : [];
      return ['/bin/bash', '-c', FETCH_SCRIPT, 'bash', FETCH, ...analyzer, '--', ...restoring];
    }
    case 'build': {
      const step = (program: 'detector' | 'builder') => [
        ...lifecycle(program, ...telling, ...app, ...platform, ...control('analyzed', 'group', 'plan')),
        ...ownBuildpackOptions(job.own, program),
      ];
      const detector = withOwnBuildpackFolder(job.own, step('detector'));
      if (job.isInspection) return detector;
      const words = [String(detector.length), ...detector, ...step('builder')];
      return ['/bin/bash', '-c', BUILD_SCRIPT, 'bash', ...words];
    }
    case 'export':
      if (job.rebaseOf !== null) {
        const flags = ['-no-color', ...user, ...registry, '-report', '/dev/termination-log'];
        const images = ['-previous-image', job.rebaseOf, job.image, job.newestImage];
        return ['/bin/bash', '-euo', 'pipefail', '-c', REBASE, 'bash', job.runImage, ...flags, ...images];
      }
      return lifecycle(
        'exporter',
        ...[...user, ...registry, ...app, ...control('analyzed', 'group'), ...cache, '-parallel'],
        // The exporter writes a report with the digest of the image. This report becomes the container's termination
        // message.
        ...['-report', '/dev/termination-log', '-project-metadata', '/about/project-metadata.toml'],
        ...[job.image, job.newestImage],
      );
    default:
      return phase satisfies never;
  }
}

/**
 * Puts an image onto the run image that the first argument names. If this argument is empty, uses the run image that
 * the builder image names. `-force` allows a run image of another name.
 */
const REBASE = `
run=$1
shift
[ -n "$run" ] || run=$(sed -n 's/^ *image *= *"\\([^"]*\\)".*/\\1/p' /cnb/run.toml | sed -n 1p)
exec /cnb/lifecycle/rebaser -force -run-image "$run" "$@"`;

/**
 * The file with the group of buildpacks whose layers are restored: every buildpack that may have built the tool's
 * earlier images.
 */
const EARLIER_BUILDPACKS = '/control/earlier.toml';

/**
 * Fetches the source, analyzes the images in the registry, and restores the layers of the last build. Runs no code of a
 * tool. One container does all of this, because the kubelet needs about a second for each container.
 *
 * The lifecycle restores layers after the detection, for the group that was detected. Here they are restored before the
 * detection, for all buildpacks of the builder image and of the tool. The builder and the exporter ignore layers of
 * buildpacks that are not in the group.
 *
 * An earlier build of the tool may have put symbolic links into the layers that are restored, and the restorer writes
 * through them. So after the restorer, the volume `control` is emptied, and gets only the analyzer's file again, as it
 * was before. This file names the run image and the earlier image. Later steps read these images with the registry's
 * credential.
 *
 * The arguments are the script that fetches the source, the command line of the analyzer, `--`, and, if the build uses
 * the cache, the ids of the tool's own buildpacks and the command line of the restorer.
 */
const FETCH_SCRIPT = `
/bin/bash -euo pipefail -c "$1" || exit ${NO_SOURCE}
shift
analyzer=()
while [ "$1" != -- ]; do analyzer+=("$1"); shift; done
shift
"\${analyzer[@]}" || exit
[ $# -gt 0 ] || exit 0
analyzed=$(cat ${ANALYZED}) || exit
{
  for file in "\${CNB_BUILDPACKS_DIR:-/cnb/buildpacks}"/*/*/buildpack.toml; do
    awk -F '"' '
      /^ *[[]/ { section = $0 }
      section == "" && /^ *api *=/ { api = $2 }
      section ~ /^ *[[]buildpack[]]/ && /^ *id *=/ { id = $2 }
      section ~ /^ *[[]buildpack[]]/ && /^ *version *=/ { version = $2 }
      END { if (id) printf "[[group]]\\nid = \\"%s\\"\\nversion = \\"%s\\"\\napi = \\"%s\\"\\n", id, version, api }' "$file"
  done
  for id in $1; do printf '[[group]]\\nid = "%s"\\nversion = "0"\\napi = "0.10"\\n' "$id"; done
} >${EARLIER_BUILDPACKS}
shift
"$@" || exit
rm -rf /control/* && printf '%s\\n' "$analyzed" >${ANALYZED}`;

/** In a build (not in an inspection), the first line of the output of the container `build`. */
export const BEGINNING_OF_DETECTOR = 'Starting detector...';

/**
 * Runs the detector and then the builder, in one container, because the kubelet needs about a second for each
 * container. Exits with the status of the program that failed. The arguments are the number of words of the detector's
 * command line, this command line, and the command line of the builder.
 */
const BUILD_SCRIPT = `
echo '${BEGINNING_OF_DETECTOR}'
count=$1
shift
"\${@:1:$count}" || exit
shift "$count"
exec "$@"`;

/**
 * Fetches the source and unpacks it. If only a part of the source arrives, curl exits with an error, and `pipefail`
 * makes the whole script fail.
 */
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
