import { createHash, randomInt } from 'node:crypto';
import { DeployError } from '../../../core/errors.ts';
import type { Release, Replicas } from '../../../core/types.ts';

// Names and labels of the objects that this server makes in a tool's namespace.

/** The label value of all objects of this server. */
export const MANAGED_BY = 'toolforge-push';
export const LABELS = {
  /** The tool's name. */
  tool: 'push.toolforge.org/tool',
  /** The release, 42 for v42. */
  version: 'push.toolforge.org/version',
  /** One rollout of a release. A restart is another rollout. */
  rollout: 'push.toolforge.org/rollout',
  /** The type of process, as in the Procfile. */
  process: 'push.toolforge.org/process',
} as const;
/** Toolforge's label for the kind of process, and its value for scheduled processes. */
export const COMPONENT = 'app.kubernetes.io/component';
export const SCHEDULED = 'cronjobs';
/** The annotation of a CronJob with the schedule as its tool wrote it. */
export const SCHEDULE = 'push.toolforge.org/schedule';
/** The annotation of a Deployment, `true` if its rollout has had the traffic. */
export const LIVE = 'push.toolforge.org/live';
/** The name of each pod's container, as in Toolforge's jobs. */
export const CONTAINER = 'job';

export interface Rollout {
  readonly release: Release;
  /** Ten random letters and digits, so that ids are unique and cannot be guessed. */
  readonly id: string;
  readonly namespace: string;
  /** The requested numbers of processes. `replicaCount` returns how many run. */
  readonly replicas: Replicas;
}

/** The parts of a name. */
type RolloutName = Pick<Rollout, 'id'> & { readonly release: Pick<Release, 'version'> };

const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';
// RFC 1123: labels, which include the names of namespaces.
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LONGEST_TYPE = 24;

export function newRolloutId(): string {
  return Array.from({ length: 10 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

/** True if the tool's name can be part of a namespace's name. */
export function hasNamespace(tool: string, prefix: string): boolean {
  return LABEL.test(`${prefix}${tool}`);
}

/** @throws DeployError `NO_NAMESPACE` if the tool's name cannot be part of a namespace's name. */
export function namespaceOf(tool: string, prefix: string): string {
  const namespace = `${prefix}${tool}`;
  if (hasNamespace(tool, prefix)) return namespace;
  throw new DeployError(
    'NO_NAMESPACE',
    `The tool ${tool} cannot run on Kubernetes: ${namespace} cannot be the name of a namespace.`,
    'Make a tool whose name has only lower-case letters, digits and hyphens, and is not too long.',
  );
}

/** `web-v42-k3x9q` */
export function objectName(type: string, { release, id }: RolloutName): string {
  return `${nameOfType(type)}-v${release.version}-${id}`;
}

/** The CronJob of a scheduled process, `push-update`. It outlives releases, so that two runs never overlap. */
export function cronJobName(type: string): string {
  return `push-${nameOfType(type)}`;
}

/** The Secret with the release's config vars, `config-v42-k3x9q`. */
export function configName(rollout: RolloutName): string {
  return objectName('config', rollout);
}

/** A label selector for a tool's schedules and their runs. */
export function scheduledOf(tool: string): string {
  return `${LABELS.tool}=${tool},${COMPONENT}=${SCHEDULED}`;
}

/** A label selector for all objects of one rollout. */
export function ofRollout(id: string): string {
  return `${LABELS.rollout}=${id}`;
}

/** The process type as part of a name. Types that are too long or not valid in a name get a hash suffix. */
function nameOfType(type: string): string {
  const plain = type
    .toLowerCase()
    .replaceAll('_', '-')
    .replace(/^-+|-+$/g, '');
  if (plain === type && type.length <= LONGEST_TYPE) return type;
  const hash = createHash('sha256').update(type).digest('hex').slice(0, 6);
  return `${plain.slice(0, LONGEST_TYPE - 7).replace(/-+$/, '')}-${hash}`.replace(/^-/, '');
}
