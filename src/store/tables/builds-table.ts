import type { CommitId, ToolName } from '../../core/names.ts';
import type { Artifact, Build, BuildState } from '../../core/types.ts';
import type { Database, Value } from '../database.ts';

type BuildRow = Omit<Build, 'artifact'> & { artifact: string | null };

const selected =
  'id, tool, "commit", deployment_id AS deploymentId, state, artifact, started_at AS startedAt, ended_at AS endedAt';

/** The builds, in the order of their starts. `artifact` is null before a build succeeds and after `forgetArtifact`. */
export class BuildsTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  add(build: Build): void {
    this.#database.run(
      'INSERT INTO builds (id, tool, "commit", deployment_id, state, artifact, started_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      build.id,
      build.tool,
      build.commit,
      build.deploymentId,
      build.state,
      asJson(build.artifact),
      build.startedAt,
      build.endedAt,
    );
  }

  end(id: string, state: BuildState, artifact: Artifact | null, endedAt: number): void {
    const count = this.#database.run(
      'UPDATE builds SET state = ?, artifact = ?, ended_at = ? WHERE id = ?',
      state,
      asJson(artifact),
      endedAt,
      id,
    );
    if (count === 0) throw new Error(`There is no build ${id}.`);
  }

  forgetArtifact(id: string): void {
    this.#database.run('UPDATE builds SET artifact = NULL WHERE id = ?', id);
  }

  find(id: string): Build | null {
    return this.#rows('WHERE id = ?', id)[0] ?? null;
  }

  /**
   * The ids of the builds that have an artifact, the newest first. Reads only an index, because artifacts can be large.
   */
  withArtifact(tool: ToolName): string[] {
    const rows = this.#database.all<{ id: string }>(
      `SELECT id FROM builds INDEXED BY builds_with_artifact
        WHERE tool = ? AND (artifact IS NOT NULL) = 1 ORDER BY sequence DESC`,
      tool,
    );
    return rows.map(({ id }) => id);
  }

  newest(tool: ToolName, limit: number): Build[] {
    return this.#rows('WHERE tool = ? ORDER BY sequence DESC LIMIT ?', tool, limit);
  }

  newestOf(tool: ToolName, commit: CommitId): Build | null {
    const rest = `WHERE tool = ? AND "commit" = ? AND state = 'BUILD_SUCCESS' AND artifact IS NOT NULL
      ORDER BY sequence DESC LIMIT 1`;
    return this.#rows(rest, tool, commit)[0] ?? null;
  }

  #rows(rest: string, ...values: Value[]): Build[] {
    const rows = this.#database.all<BuildRow>(`SELECT ${selected} FROM builds ${rest}`, ...values);
    return rows.map((row) => ({ ...row, artifact: row.artifact === null ? null : JSON.parse(row.artifact) }));
  }
}

function asJson(artifact: Artifact | null): string | null {
  return artifact === null ? null : JSON.stringify(artifact);
}
