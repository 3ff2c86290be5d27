import { createHash, randomBytes } from 'node:crypto';
import type { ToolName } from '../../core/names.ts';

/** What objects of builds carry, for people, NetworkPolicies and cleaning up. */
export const BUILD_LABELS = {
  'app.kubernetes.io/managed-by': 'toolforge-push',
  'app.kubernetes.io/component': 'build',
} as const;
export const TOOL_LABEL = 'push.toolforge.org/tool';
export const BUILD_LABEL = 'push.toolforge.org/build';

/** Its value is the Job's own name: a build of the same id may have been here before. */
export const JOB_LABEL = 'push.toolforge.org/job';

/** The labels of one build’s objects. */
export function labelsOf(tool: ToolName, build: string, job: string): Record<string, string> {
  return { ...BUILD_LABELS, [TOOL_LABEL]: tool, [BUILD_LABEL]: build, [JOB_LABEL]: job };
}

/** Selects what belongs to builds of a tool, or to one Job. */
export function selectorOf(tool: ToolName, job?: string): string {
  const labels = { ...BUILD_LABELS, [TOOL_LABEL]: tool, ...(job === undefined ? {} : { [JOB_LABEL]: job }) };
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

/** A new name for a build's objects: that of the tool for people, as far as it goes, and something of its own. */
export function newJobName(tool: ToolName): string {
  const own = randomBytes(6).toString('hex');
  return `build-${tool.replaceAll('_', '-').slice(0, 33).replace(/-+$/, '')}-${own}`;
}

/** A name of repositories that the registry takes: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const FITS = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;

/** The repositories of one tool. */
export interface ToolRepositories {
  readonly host: string;
  /** Harbor's word for the first part of the name below the registry's path. */
  readonly project: string;
  readonly image: string;
  readonly cache: string;
}

/** @param registry - `host[:port][/path]` */
export function repositoriesOf(registry: string, tool: ToolName): ToolRepositories {
  const slash = registry.indexOf('/');
  const host = slash < 0 ? registry : registry.slice(0, slash);
  const path = slash < 0 ? '' : `${registry.slice(slash + 1)}/`;
  const plain = `tool-${tool}`;
  // `a-_b` is a tool's name and no repository's.
  const own = FITS.test(plain)
    ? plain
    : `${plain.replace(/[-_]+/g, '-')}.${createHash('sha256').update(tool).digest('hex').slice(0, 8)}`;
  const project = path === '' ? own : (path.split('/')[0] ?? own);
  return { host, project, image: `${path}${own}/${own}`, cache: `${path}${own}/cache` };
}
