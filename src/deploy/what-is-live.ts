import type { ToolName } from '../core/names.ts';
import type { Store } from '../store/store.ts';

/** What every failure ends with: `v41 is still live`. */
export function whatIsLive(store: Store, tool: ToolName): string {
  const { liveVersion, isStopped } = store.tool(tool);
  if (liveVersion === null) return 'nothing is live yet';
  return isStopped
    ? `v${liveVersion} stays the release of ${tool}, which is stopped`
    : `v${liveVersion} is still live`;
}
