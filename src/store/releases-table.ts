import type { ToolName } from '../core/names.ts';
import type { Release } from '../core/types.ts';
import type { Database, Value } from './database.ts';
import type { SecretsKey } from './secrets.ts';
import type { ReleaseRecord } from './store.ts';

type ReleaseRow = Omit<ReleaseRecord, 'artifact' | 'configVars'> & { artifact: string; sealed: Uint8Array };

const selected = `tool, version, state, "commit", artifact, config_vars AS sealed, description, "by",
  credential, deployment_id AS deploymentId, created_at AS createdAt`;

/** The releases. Only their state ever changes. */
export class ReleasesTable {
  readonly #database: Database;
  readonly #key: SecretsKey;

  constructor(database: Database, key: SecretsKey) {
    this.#database = database;
    this.#key = key;
  }

  add(release: Release): void {
    this.#database.run(
      `INSERT INTO releases
        (tool, version, state, "commit", artifact, config_vars, description, "by", credential, deployment_id, created_at)
        VALUES (?, ?, 'created', ?, ?, ?, ?, ?, ?, ?, ?)`,
      release.tool,
      release.version,
      release.commit,
      JSON.stringify(release.artifact),
      this.#key.encrypt(JSON.stringify(release.configVars), [release.tool, `v${release.version}`]),
      release.description,
      release.by,
      release.credential,
      release.deploymentId,
      release.createdAt,
    );
  }

  find(tool: ToolName, version: number): ReleaseRecord | null {
    return this.#rows('WHERE tool = ? AND version = ?', tool, version)[0] ?? null;
  }

  newest(tool: ToolName, limit: number): ReleaseRecord[] {
    return this.#rows('WHERE tool = ? ORDER BY sequence DESC LIMIT ?', tool, limit);
  }

  fail(tool: ToolName, version: number): void {
    const count = this.#database.run(
      `UPDATE releases SET state = 'failed' WHERE tool = ? AND version = ? AND state IN ('created', 'failed')`,
      tool,
      version,
    );
    if (count === 0) throw new Error(`v${version} of ${tool} is not there or was live.`);
  }

  /** Within the caller's transaction. A live release may go live again, as it does at a restart. */
  setLive(tool: ToolName, version: number): void {
    this.#database.run(
      `UPDATE releases SET state = 'replaced' WHERE tool = ? AND state = 'live' AND version <> ?`,
      tool,
      version,
    );
    const count = this.#database.run(
      `UPDATE releases SET state = 'live' WHERE tool = ? AND version = ? AND state IN ('created', 'live')`,
      tool,
      version,
    );
    if (count === 0) throw new Error(`v${version} of ${tool} is not there, has failed or was replaced.`);
  }

  #rows(rest: string, ...values: Value[]): ReleaseRecord[] {
    const rows = this.#database.all<ReleaseRow>(`SELECT ${selected} FROM releases ${rest}`, ...values);
    return rows.map(({ sealed, artifact, ...row }) => ({
      ...row,
      artifact: JSON.parse(artifact),
      configVars: JSON.parse(this.#key.decrypt(sealed, [row.tool, `v${row.version}`])),
    }));
  }
}
