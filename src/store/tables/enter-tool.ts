import { randomBytes } from 'node:crypto';
import { newId, type ToolName } from '../../core/names.ts';
import type { Artifact } from '../../core/types.ts';
import type { EnteredRelease, EnteredTool } from '../store.ts';
import type { ConfigChangesTable } from './config-changes-table.ts';
import type { DeploymentsTable } from './deployments-table.ts';
import type { PreviewsTable } from './previews-table.ts';
import type { ReleasesTable } from './releases-table.ts';
import type { ToolsTable } from './tools-table.ts';

export interface EnteredInto {
  readonly tools: ToolsTable;
  readonly deployments: DeploymentsTable;
  readonly releases: ReleasesTable;
  readonly configChanges: ConfigChangesTable;
  readonly previews: PreviewsTable;
}

/** Enters into the store what another server had about a tool, for an import. Runs within the caller's transaction. */
export function enterTool(tables: EnteredInto, tool: ToolName, entered: EnteredTool): void {
  const { tools, configChanges, previews } = tables;
  tools.begin(tool);
  for (const release of entered.releases) enterRelease(tables, tool, release);
  tools.skipVersions(tool, Math.max(0, ...entered.releases.map(({ version }) => version)));
  const { configVars, by, at } = entered;
  configChanges.add(tool, [tools.configVars(tool), configVars], { version: null, by, at });
  tools.setConfigVars(tool, configVars);
  tools.setReplicas(tool, entered.replicas);
  tools.setSizes(tool, entered.sizes);
  tools.setPaused(tool, entered.paused);
  // Keep the limits that an operator of this server has already set, and take only the others from the other server.
  tools.setOwnLimits(tool, { ...entered.limits, ...tools.ownLimits(tool) });
  previews.setShared(tool, entered.sharedConfig);
}

function enterRelease(
  { deployments, releases }: EnteredInto,
  tool: ToolName,
  { isFailed, deployment, ...release }: EnteredRelease,
): void {
  const { version, commit, by, credential, createdAt } = release;
  const id = newId(new Date(createdAt), randomBytes(10));
  const state = isFailed ? 'failed' : 'live';
  const whole = { ...deployment, id, tool, commit, by, credential, version, state, oldCommit: null } as const;
  deployments.add(whole, null);
  const added = { ...release, tool, artifact: withoutFiles(id), configVars: {}, deploymentId: id };
  releases.add(added, isFailed ? 'failed' : 'replaced');
}

/**
 * The artifact of a release that was built on another server. No build has its id, so this server treats the artifact
 * as deleted.
 */
function withoutFiles(id: string): Artifact {
  const service = { healthCheckPath: null };
  return { id, kind: 'slug', reference: '', processes: [], buildpacks: [], service, bytes: 0 };
}
