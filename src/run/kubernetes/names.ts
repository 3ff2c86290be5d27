import { createHash, randomInt } from 'node:crypto';
import { DeployError } from '../../core/errors.ts';
import type { Release, Replicas } from '../../core/types.ts';

// Names and labels of what this server makes in a tool's namespace.

/** On everything: what belongs to Toolforge's tools, and who made it. */
export const MANAGED_BY = 'toolforge-push';
export const LABELS = {
  /** The tool's name. */
  tool: 'push.toolforge.org/tool',
  /** The release, 42 for v42. */
  version: 'push.toolforge.org/version',
  /** One rollout of a release; a restart is another. */
  rollout: 'push.toolforge.org/rollout',
  /** The type of process, as in the Procfile. */
  process: 'push.toolforge.org/process',
} as const;
/** Toolforge's label for what kind of thing runs, and its value where a schedule starts it. */
export const COMPONENT = 'app.kubernetes.io/component';
export const SCHEDULED = 'cronjobs';
/** On a CronJob: the schedule as its tool wrote it. */
export const SCHEDULE = 'push.toolforge.org/schedule';
/** `true` on a Deployment whose rollout has got the traffic. */
export const LIVE = 'push.toolforge.org/live';
/** What a pod's containers are called, as in Toolforge's jobs. */
export const CONTAINER = 'job';

export interface Rollout {
  readonly release: Release;
  /** Ten letters and digits: no two tools come to have the same, and nobody guesses one. */
  readonly id: string;
  readonly namespace: string;
  /** How many of each process were asked for: `replicaCount` says how many run. */
  readonly replicas: Replicas;
}

/** What names are made from. */
type RolloutName = Pick<Rollout, 'id'> & { readonly release: Pick<Release, 'version'> };

const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';
// RFC 1123: what a label, and so a namespace, may be.
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LONGEST_TYPE = 24;

export function newRolloutId(): string {
  return Array.from({ length: 10 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

/** Whether the tool's name can be part of a namespace's. */
export function hasNamespace(tool: string, prefix: string): boolean {
  return LABEL.test(`${prefix}${tool}`);
}

/** @throws DeployError `NO_NAMESPACE` for a tool whose name cannot be part of one. */
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

/** `push-update`: the CronJob of a scheduled process. It outlives releases, so that no two of its runs are at once. */
export function cronJobName(type: string): string {
  return `push-${nameOfType(type)}`;
}

/** `config-v42-k3x9q`: the Secret with the release's config vars. */
export function configName(rollout: RolloutName): string {
  return objectName('config', rollout);
}

/** A label selector for what a tool's schedules are and have started. */
export function scheduledOf(tool: string): string {
  return `${LABELS.tool}=${tool},${COMPONENT}=${SCHEDULED}`;
}

/** A label selector for all that one rollout made. */
export function ofRollout(id: string): string {
  return `${LABELS.rollout}=${id}`;
}

/** A type may have letters that a name may not, or be too long: a piece of its hash then tells it from others. */
function nameOfType(type: string): string {
  const plain = type
    .toLowerCase()
    .replaceAll('_', '-')
    .replace(/^-+|-+$/g, '');
  if (plain === type && type.length <= LONGEST_TYPE) return type;
  const hash = createHash('sha256').update(type).digest('hex').slice(0, 6);
  return `${plain.slice(0, LONGEST_TYPE - 7).replace(/-+$/, '')}-${hash}`.replace(/^-/, '');
}
