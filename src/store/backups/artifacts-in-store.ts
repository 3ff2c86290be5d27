import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { ToolName } from '../../core/names.ts';
import type { Artifact } from '../../core/types.ts';
import { ReleaseCopies, type ReleaseCopy } from './release-copies.ts';

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

/**
 * Prepares a data folder, `folder`, for its move to `data`: in the store and in the copies of releases of `folder`, the
 * path of each artifact that is a folder then leads into `data`. Names of images stay the same. No server may be using
 * `folder`.
 */
export async function moveArtifacts(folder: string, data: string): Promise<void> {
  const database = new DatabaseSync(join(folder, 'store.sqlite'));
  try {
    for (const table of ['builds', 'releases'])
      database
        .prepare(
          `UPDATE ${table} SET artifact = json_set(artifact, '$.reference', ? || '/' || tool || '/' || json_extract(artifact, '$.id'))
          WHERE json_extract(artifact, '$.kind') = 'slug'`,
        )
        .run(join(data, 'artifacts'));
  } finally {
    database.close();
  }
  const copies = new ReleaseCopies(folder);
  for (const tool of copies.tools())
    for (const version of copies.versions(tool)) {
      const copy = copies.read(tool, version);
      if (copy !== null) await copies.write(movedCopy(copy, data));
    }
}

function movedCopy(copy: ReleaseCopy, data: string): ReleaseCopy {
  const { release, build } = copy;
  const moved = (artifact: Artifact): Artifact =>
    artifact.kind === 'slug'
      ? { ...artifact, reference: join(data, 'artifacts', release.tool, artifact.id) }
      : artifact;
  return {
    ...copy,
    release: { ...release, artifact: moved(release.artifact) },
    build: build === null || build.artifact === null ? build : { ...build, artifact: moved(build.artifact) },
  };
}
