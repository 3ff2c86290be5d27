import type { CommitId, ToolName } from '../../core/names.ts';
import type { Release } from '../../core/types.ts';
import type { ReleaseCopy } from '../backups/release-copies.ts';
import type { Database } from '../database.ts';
import type { SecretsKey } from '../secrets.ts';
import type { ListedRelease, ReleaseRecord } from '../store.ts';

type ListedRow = Omit<ListedRelease, 'artifact'> & { artifact: string };
type ReleaseRow = ListedRow & { sealed: Uint8Array };

const listed = `tool, version, state, "commit", artifact, description, "by",
  credential, deployment_id AS deploymentId, created_at AS createdAt, promoted_to AS promotedTo`;
const selected = `${listed}, config_vars AS sealed`;

/**
 * The releases. Once added, a release changes only its state and `promotedTo`, unless `enter` repairs it or its tool is
 * renamed.
 */
export class ReleasesTable {
  readonly #database: Database;
  readonly #key: SecretsKey;

  constructor(database: Database, key: SecretsKey) {
    this.#database = database;
    this.#key = key;
  }

  add(release: Release, state: ReleaseRecord['state'] = 'created'): void {
    this.#database.run(
      `INSERT INTO releases
        (tool, version, state, "commit", artifact, config_vars, description, "by", credential, deployment_id, created_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      release.tool,
      release.version,
      state,
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

  notePromotion(tool: ToolName, version: number, to: string): void {
    this.#database.run(
      `UPDATE releases SET promoted_to = substr(coalesce(promoted_to || ', ', '') || ?, -500) WHERE tool = ? AND version = ?`,
      to,
      tool,
      version,
    );
  }

  find(tool: ToolName, version: number): ReleaseRecord | null {
    const row = this.#row(tool, version);
    if (row === null) return null;
    const { sealed, artifact, ...release } = row;
    return {
      ...release,
      artifact: JSON.parse(artifact),
      configVars: JSON.parse(this.#key.decrypt(sealed, [tool, `v${version}`])),
    };
  }

  /**
   * The state and the artifact's id of each release, the newest first. Reads only an index, because artifacts can be
   * large.
   */
  artifactIds(tool: ToolName): { version: number; state: ReleaseRecord['state']; artifact: string }[] {
    return this.#database.all(
      `SELECT version, state, artifact ->> '$.id' AS artifact FROM releases INDEXED BY releases_artifacts
        WHERE tool = ? ORDER BY version DESC`,
      tool,
    );
  }

  newest(tool: ToolName, limit: number, before = Number.MAX_SAFE_INTEGER): ListedRelease[] {
    const rows = this.#database.all<ListedRow>(
      `SELECT ${listed} FROM releases WHERE tool = ? AND version < ? ORDER BY version DESC LIMIT ?`,
      tool,
      before,
      limit,
    );
    return rows.map(({ artifact, ...release }) => ({ ...release, artifact: JSON.parse(artifact) }));
  }

  /**
   * Returns a release in the form in which it is copied to a file, with encrypted config vars. Null if the store does
   * not have the release.
   */
  copyOf(tool: ToolName, version: number): ReleaseCopy['release'] | null {
    const row = this.#row(tool, version);
    if (row === null) return null;
    const { sealed, artifact, state: _, promotedTo: __, ...release } = row;
    return { ...release, artifact: JSON.parse(artifact), sealed: Buffer.from(sealed).toString('base64') };
  }

  /** For each release that is or was live: its version, and its commit. Does not decrypt config vars. */
  commits(tool: ToolName): Map<number, CommitId> {
    const rows = this.#database.all<{ version: number; commit: CommitId }>(
      `SELECT version, "commit" FROM releases INDEXED BY releases_artifacts WHERE tool = ? AND state IN ('live', 'replaced')`,
      tool,
    );
    return new Map(rows.map(({ version, commit }) => [version, commit]));
  }

  /** For each release in state `created`: its version, and the id of the deployment that made it. */
  created(tool: ToolName): Map<number, string> {
    const rows = this.#database.all<{ version: number; deploymentId: string }>(
      `SELECT version, deployment_id AS deploymentId FROM releases WHERE tool = ? AND state = 'created'`,
      tool,
    );
    return new Map(rows.map(({ version, deploymentId }) => [version, deploymentId]));
  }

  /**
   * The bytes of config vars and artifacts in all releases of a tool and of its previews, even failed ones, created
   * after `after` and at or before `until`.
   */
  bytes(tool: ToolName, after: number, until: number): number {
    const row = this.#database.get<{ bytes: number }>(
      `SELECT coalesce(sum(octet_length(config_vars) + octet_length(artifact)), 0) AS bytes FROM releases
        WHERE tool IN (SELECT name FROM tools WHERE name = ? OR preview_of = ?)
          AND created_at > ? AND created_at <= ?`,
      tool,
      tool,
      after,
      until,
    );
    return row?.bytes ?? 0;
  }

  /** The newest `limit` versions that are or were live, the newest first. */
  wereLive(tool: ToolName, limit: number): number[] {
    const rows = this.#database.all<{ version: number }>(
      `SELECT version FROM releases WHERE tool = ? AND state IN ('live', 'replaced') ORDER BY version DESC LIMIT ?`,
      tool,
      limit,
    );
    return rows.map(({ version }) => version);
  }

  /** For each build that still has its artifact: the newest version that uses the build and is or was live. */
  canRun(tool: ToolName): number[] {
    const rows = this.#database.all<{ version: number }>(
      `SELECT max(version) AS version FROM
        (SELECT version, artifact ->> '$.id' AS id FROM releases INDEXED BY releases_artifacts
          WHERE tool = ? AND state IN ('live', 'replaced'))
        WHERE id IN (SELECT id FROM builds INDEXED BY builds_with_artifact WHERE tool = ? AND (artifact IS NOT NULL) = 1)
        GROUP BY id`,
      tool,
      tool,
    );
    return rows.map(({ version }) => version);
  }

  /** Enters a release from its copy, in state `replaced`. Overwrites the release if the store already has it. */
  enter(release: ReleaseCopy['release']): void {
    this.#database.run(
      `INSERT INTO releases
        (tool, version, state, "commit", artifact, config_vars, description, "by", credential, deployment_id, created_at)
        VALUES (?, ?, 'replaced', ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (tool, version) DO UPDATE SET state = 'replaced', "commit" = excluded."commit",
          artifact = excluded.artifact, config_vars = excluded.config_vars, deployment_id = excluded.deployment_id`,
      release.tool,
      release.version,
      release.commit,
      JSON.stringify(release.artifact),
      Buffer.from(release.sealed, 'base64'),
      release.description,
      release.by,
      release.credential,
      release.deploymentId,
      release.createdAt,
    );
  }

  /**
   * Makes a release live, whatever its state, and the previous live release `replaced`. Runs within the caller's
   * transaction.
   */
  setEnteredLive(tool: ToolName, version: number): void {
    this.#database.run(
      `UPDATE releases SET state = iif(version = ?, 'live', 'replaced')
        WHERE tool = ? AND (state = 'live' OR version = ?)`,
      version,
      tool,
      version,
    );
  }

  fail(tool: ToolName, version: number): void {
    const count = this.#database.run(
      `UPDATE releases SET state = 'failed' WHERE tool = ? AND version = ? AND state IN ('created', 'failed')`,
      tool,
      version,
    );
    if (count === 0) throw new Error(`v${version} of ${tool} is not there or was live.`);
  }

  /**
   * Makes a release live, and the previous live release `replaced`. Accepts only a release in state `created`, or the
   * live release itself, for example at a restart. Runs within the caller's transaction.
   */
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

  #row(tool: ToolName, version: number): ReleaseRow | null {
    return this.#database.get<ReleaseRow>(
      `SELECT ${selected} FROM releases WHERE tool = ? AND version = ?`,
      tool,
      version,
    );
  }
}
