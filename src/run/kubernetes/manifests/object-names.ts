import { createHash, randomInt } from 'node:crypto';
import { DeployError } from '../../../core/errors.ts';
import type { ToolName } from '../../../core/names.ts';
import type { Release, Replicas } from '../../../core/types.ts';

// This file gives the names and labels of the objects that this server creates in a tool's namespace.

/**
 * The id of no rollout. The Service of a tool without a live release selects the rollout with this id, and so selects
 * no pod.
 */
export const NO_ROLLOUT = 'none';

/** The value of the label app.kubernetes.io/managed-by for all objects of this server. */
export const MANAGED_BY = 'toolforge-push';
export const LABELS = {
  /** The label with the tool's name. */
  tool: 'push.toolforge.org/tool',
  /** The label with the version of the release: 42 for v42. */
  version: 'push.toolforge.org/version',
  /** The label with the id of the rollout. A restart of all processes of a release is a new rollout. */
  rollout: 'push.toolforge.org/rollout',
  /** The label with the type of process, in the form that `labelValue` returns. */
  process: 'push.toolforge.org/process',
} as const;
/**
 * The label with the kind of process. The platform Toolforge (toolforge.org) sets the same label for its own jobs, with
 * the value `SCHEDULED` for scheduled jobs.
 */
export const COMPONENT = 'app.kubernetes.io/component';
export const SCHEDULED = 'cronjobs';
/** The value of the label `COMPONENT` for the Deployment and the pod that show visitors the page about maintenance. */
export const MAINTENANCE = 'maintenance';
/** The annotation of a CronJob that holds the schedule as the tool wrote it. */
export const SCHEDULE = 'push.toolforge.org/schedule';
/** The annotation of a Deployment: `true` if its rollout has once been live. */
export const LIVE = 'push.toolforge.org/live';
/** The name of each pod's container. The containers of jobs on the platform Toolforge have the same name. */
export const CONTAINER = 'job';

export interface Rollout {
  readonly release: Release;
  /** The id of the rollout: ten random letters and digits, so that ids are unique and cannot be guessed. */
  readonly id: string;
  readonly namespace: string;
  /**
   * If this is a rollout of a preview, the tool of the preview. The rollout's objects are then in the namespace of that
   * tool. Otherwise absent.
   */
  readonly previewOf?: ToolName;
  /** How many processes of each type were requested. `replicaCount` returns how many the rollout is to have. */
  readonly replicas: Replicas;
  /** True if maintainers have paused the schedule of this process type. Absent if no schedule is paused. */
  readonly isPaused?: (type: string) => boolean;
}

interface Owner {
  readonly release: Pick<Release, 'tool'>;
}

/** The parts of a rollout that are in the names of the rollout's objects. */
type RolloutName = Pick<Rollout, 'id'> & { readonly release: Pick<Release, 'version'> };

/**
 * Returns the tool that a preview belongs to. Null if no preview has this name. Undefined while the store is not open
 * yet.
 */
export type PreviewOf = (name: ToolName) => ToolName | null | undefined;

const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';
// Matches an RFC 1123 label. The names of namespaces are such labels.
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LONGEST_TYPE = 24;

export function newRolloutId(): string {
  return Array.from({ length: 10 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

/** True if the tool's name can be part of a namespace's name. */
export function hasNamespace(tool: string, prefix: string): boolean {
  return LABEL.test(`${prefix}${tool}`);
}

/**
 * Returns the name of the tool's namespace.
 *
 * @throws DeployError `NO_NAMESPACE` if the tool's name cannot be part of a namespace's name.
 */
export function namespaceOf(tool: string, prefix: string): string {
  const namespace = `${prefix}${tool}`;
  if (hasNamespace(tool, prefix)) return namespace;
  throw new DeployError(
    'NO_NAMESPACE',
    `the tool ${tool} cannot run on Kubernetes: ${namespace} cannot be the name of a namespace`,
    'Create a tool with a shorter name, or a name of only lower-case letters, digits and hyphens.',
  );
}

/** Returns the name of a process's object in a rollout, for example `web-v42-k3x5qabc7d`. */
export function objectName(type: string, { release, id }: RolloutName): string {
  return `${nameOfType(type)}-v${release.version}-${id}`;
}

/**
 * Returns the name of a scheduled process's CronJob, for example `push-update`. The CronJob outlives releases, so that
 * the schedules of two releases never start overlapping runs. The CronJobs of a preview are in the namespace of the
 * preview's tool, so their names have a hash of the preview's name. Kubernetes allows 52 characters.
 */
export function cronJobName(
  type: string,
  { release, previewOf }: Pick<Rollout, 'previewOf'> & Owner,
): string {
  return previewOf === undefined
    ? `push-${nameOfType(type)}`
    : `preview-${hashOf(release.tool, 10)}-${nameOfType(type)}`;
}

/** Returns the name of the Secret with the release's config vars, for example `config-v42-k3x5qabc7d`. */
export function configName(rollout: RolloutName): string {
  return objectName('config', rollout);
}

/**
 * Returns the name of the Deployment that shows visitors the page about maintenance. The Deployment of a preview is in
 * the namespace of the preview's tool, so its name has a hash of the preview's name.
 */
export function maintenanceName({ release, previewOf }: Pick<Rollout, 'previewOf'> & Owner): string {
  return previewOf === undefined
    ? `push-${MAINTENANCE}`
    : `preview-${hashOf(release.tool, 10)}-${MAINTENANCE}`;
}

/** Returns the labels that select the pods with a tool's page about maintenance. */
export function maintenanceLabels(tool: string): Record<string, string> {
  return { toolforge: 'tool', [LABELS.tool]: tool, [COMPONENT]: MAINTENANCE };
}

/** Returns a label selector for a tool's schedules and their runs. */
export function scheduledOf(tool: string): string {
  return `${LABELS.tool}=${tool},${COMPONENT}=${SCHEDULED}`;
}

/** Returns a label selector for all objects of one rollout. */
export function ofRollout(id: string): string {
  return `${LABELS.rollout}=${id}`;
}

/**
 * Returns the process type as a part of an object's name. Types that are too long or not valid in a name get a hash
 * suffix.
 */
function nameOfType(type: string): string {
  const plain = type
    .toLowerCase()
    .replaceAll('_', '-')
    .replace(/^-+|-+$/g, '');
  if (plain === type && type.length <= LONGEST_TYPE) return type;
  return `${plain.slice(0, LONGEST_TYPE - 7).replace(/-+$/, '')}-${hashOf(type, 6)}`.replace(/^-/, '');
}

function hashOf(text: string, letters: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, letters);
}
