import { DatabaseSync } from 'node:sqlite';
import type { ToolName } from '../../core/names.ts';

/**
 * For each tool, the ids of the artifacts that a copy of a store knows. `store` is the path of this copy. No server may
 * be using it.
 */
export function artifactsIn(store: string): ReadonlyMap<ToolName, ReadonlySet<string>> {
  const database = new DatabaseSync(store, { readOnly: true });
  try {
    const rows = database
      .prepare(`SELECT tool, json_extract(artifact, '$.id') AS id FROM builds WHERE artifact IS NOT NULL
        UNION SELECT tool, json_extract(artifact, '$.id') FROM releases`)
      .all() as { tool: ToolName; id: string }[];
    return new Map(
      [...Map.groupBy(rows, ({ tool }) => tool)].map(([tool, own]) => [
        tool,
        new Set(own.map(({ id }) => id)),
      ]),
    );
  } finally {
    database.close();
  }
}
