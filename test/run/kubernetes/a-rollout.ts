import type { ToolName } from '../../../src/core/names.ts';
import type { Process, Release } from '../../../src/core/types.ts';
import { releaseOf } from '../contract-steps.ts';

/** Returns a release of the tool wikibot, with an image that nobody pulls. */
export function imageRelease(processes: readonly Process[], version = 42): Release {
  return releaseOf('wikibot' as ToolName, version, {
    ...{ id: 'b', kind: 'image', reference: 'r/t@sha256:0', buildpacks: [], bytes: 1 },
    processes,
    service: { healthCheckPath: null },
  });
}

/** Returns a rollout of the tool wikibot with these processes. */
export function rolloutOf(
  processes: readonly Process[],
  {
    version = 42,
    id = 'k3x9q',
    replicas = {},
  }: { version?: number; id?: string; replicas?: Record<string, number> } = {},
) {
  return { release: imageRelease(processes, version), id, namespace: 'tool-wikibot', replicas };
}
