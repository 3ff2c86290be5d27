import { type CommitId, commitId, type ToolName, toolName } from '../../src/core/names.ts';
import type { Artifact, Build, Deployment, Release } from '../../src/core/types.ts';

/** The tool of the deployments, builds and releases that this file makes, unless a test changes it. */
export const wikibot = nameOf('wikibot');
export const otherTool = nameOf('other-tool');

export function nameOf(text: string): ToolName {
  const name = toolName(text);
  if (name === null) throw new Error(`${text} is not a tool's name`);
  return name;
}

/** Returns a commit id that repeats one hexadecimal digit. */
export function commitOf(digit: string): CommitId {
  const commit = commitId(digit.repeat(40));
  if (commit === null) throw new Error(`${digit} makes no commit id`);
  return commit;
}

export function artifactOf(id: string): Artifact {
  return {
    id,
    kind: 'slug',
    reference: `/slugs/${id}`,
    processes: [{ type: 'web', command: ['gunicorn', 'app:app'], isDefault: true }],
    buildpacks: ['python 3.11.2'],
    service: { healthCheckPath: '/healthz' },
    bytes: 1234,
  };
}

export function deploymentOf(id: string, change: Partial<Deployment> = {}): Deployment {
  return {
    id,
    tool: wikibot,
    kind: 'push',
    state: 'waiting',
    commit: commitOf('a'),
    oldCommit: null,
    by: 'alice',
    door: 'ssh',
    credential: 'ssh ED25519 SHA256:abc',
    message: null,
    version: null,
    reason: null,
    createdAt: 1_700_000_000_000,
    startedAt: null,
    endedAt: null,
    ...change,
  };
}

export function buildOf(id: string, deploymentId: string, change: Partial<Build> = {}): Build {
  return {
    id,
    tool: wikibot,
    commit: commitOf('a'),
    deploymentId,
    state: 'BUILD_RUNNING',
    artifact: null,
    startedAt: 1_700_000_000_000,
    endedAt: null,
    ...change,
  };
}

export function releaseOf(
  deploymentId: string,
  change: Partial<Omit<Release, 'version'>> = {},
): Omit<Release, 'version'> {
  return {
    tool: wikibot,
    commit: commitOf('a'),
    artifact: artifactOf('b1'),
    configVars: { GREETING: 'hello' },
    description: 'Deploy aaaaaaa',
    by: 'alice',
    credential: 'ssh ED25519 SHA256:abc',
    deploymentId,
    createdAt: 1_700_000_000_000,
    ...change,
  };
}
