import { createHash, randomBytes } from 'node:crypto';
import type { ToolName } from '../../../core/names.ts';

/** Every object of a build has these labels. People, NetworkPolicies and the cleanup select objects by them. */
const BUILD_LABELS = {
  'app.kubernetes.io/managed-by': 'toolforge-push',
  'app.kubernetes.io/component': 'build',
} as const;
const TOOL_LABEL = 'push.toolforge.org/tool';
export const BUILD_LABEL = 'push.toolforge.org/build';

/** The label that has the name of a Job as its value. It selects the Job, its pod and its Secrets. */
export const JOB_LABEL = 'push.toolforge.org/job';

/** The labels of one build’s objects. */
export function labelsOf(tool: ToolName, build: string, job: string): Record<string, string> {
  return { ...BUILD_LABELS, [TOOL_LABEL]: tool, [BUILD_LABEL]: build, [JOB_LABEL]: job };
}

/** Returns the label selector for the objects of all builds of a tool, or only for those of the Job `job`. */
export function selectorOf(tool: ToolName, job?: string): string {
  const labels = { ...BUILD_LABELS, [TOOL_LABEL]: tool, ...(job === undefined ? {} : { [JOB_LABEL]: job }) };
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

/** A new name for a build's Job: `build-`, up to 33 characters of the tool's name, and a random part. */
export function newJobName(tool: ToolName): string {
  const own = randomBytes(6).toString('hex');
  return `build-${tool.replaceAll('_', '-').slice(0, 33).replace(/-+$/, '')}-${own}`;
}

/**
 * Matches a valid repository name:
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
 */
const FITS = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
/** Matches a valid name of a Harbor project: `fix--wikibot` is not valid. */
const FITS_HARBOR = /^[a-z0-9]+([._-][a-z0-9]+)*$/;

/** The repositories of one tool. */
export interface ToolRepositories {
  readonly host: string;
  /** The Harbor project: the first part of the repository's name. */
  readonly project: string;
  readonly image: string;
  readonly cache: string;
}

/**
 * Returns the repositories of a tool in a registry. @param registry - Where images of tools are stored:
 * `host[:port][/path]`.
 */
export function repositoriesOf(registry: string, tool: ToolName, isHarbor = false): ToolRepositories {
  const slash = registry.indexOf('/');
  const host = slash < 0 ? registry : registry.slice(0, slash);
  const path = slash < 0 ? '' : `${registry.slice(slash + 1)}/`;
  const plain = `tool-${tool}`;
  // `a-_b` is a valid tool name, but no valid repository name.
  const fits = isHarbor && path === '' ? FITS_HARBOR : FITS;
  const own = fits.test(plain)
    ? plain
    : `${plain.replace(/[-_]+/g, '-')}.${createHash('sha256').update(tool).digest('hex').slice(0, 8)}`;
  const project = path === '' ? own : (path.split('/')[0] ?? own);
  return { host, project, image: `${path}${own}/${own}`, cache: `${path}${own}/cache` };
}
