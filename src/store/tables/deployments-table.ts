import type { ToolName } from '../../core/names.ts';
import type { Deployment, DeploymentRequest } from '../../core/types.ts';
import type { Database, Value } from '../database.ts';

/** The column of each field of a deployment. */
const columns = {
  id: 'id',
  tool: 'tool',
  kind: 'kind',
  state: 'state',
  commit: '"commit"',
  oldCommit: 'old_commit',
  by: '"by"',
  door: 'door',
  credential: 'credential',
  message: 'message',
  version: 'version',
  reason: 'reason',
  createdAt: 'created_at',
  startedAt: 'started_at',
  endedAt: 'ended_at',
} as const satisfies Record<keyof Deployment, string>;

const fields = Object.keys(columns) as (keyof Deployment)[];
const selected = fields.map((field) => `${columns[field]} AS "${field}"`).join(', ');
const unfinished = `state IN ('waiting', 'building', 'releasing', 'rolling-out')`;

/** The deployments, in the order in which they were requested. */
export class DeploymentsTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  add(deployment: Deployment, request: DeploymentRequest | null): void {
    const names = fields.map((field) => columns[field]).join(', ');
    const places = fields.map(() => '?').join(', ');
    const values: Value[] = fields.map((field) => deployment[field]);
    this.#database.run(
      `INSERT INTO deployments (${names}, request) VALUES (${places}, ?)`,
      ...values,
      request === null ? null : JSON.stringify(request),
    );
  }

  update(id: string, change: Partial<Omit<Deployment, 'id' | 'tool'>>): void {
    const changed = fields.filter(
      (field) => field !== 'id' && field !== 'tool' && change[field] !== undefined,
    ) as (keyof typeof change)[];
    if (changed.length === 0) return;
    const sets = changed.map((field) => `${columns[field]} = ?`).join(', ');
    const values: Value[] = changed.map((field) => change[field] ?? null);
    const count = this.#database.run(`UPDATE deployments SET ${sets} WHERE id = ?`, ...values, id);
    if (count === 0) throw new Error(`There is no deployment ${id}.`);
  }

  find(id: string): Deployment | null {
    const row = this.#database.get<Deployment>(`SELECT ${selected} FROM deployments WHERE id = ?`, id);
    return row === null ? null : { ...row };
  }

  newest(tool: ToolName, limit: number): Deployment[] {
    return this.#rows('WHERE tool = ? ORDER BY sequence DESC LIMIT ?', tool, limit);
  }

  unfinished(): Deployment[] {
    return this.#rows(`WHERE ${unfinished} ORDER BY sequence`);
  }

  requestOf(id: string): DeploymentRequest | null {
    const row = this.#database.get<{ request: string | null }>(
      'SELECT request FROM deployments WHERE id = ?',
      id,
    );
    return row === null || row.request === null ? null : JSON.parse(row.request);
  }

  /** Deletes the request of a deployment that no longer needs it. The request of an atomic push can have a megabyte. */
  forgetRequest(id: string): void {
    this.#database.run('UPDATE deployments SET request = NULL WHERE id = ? AND request IS NOT NULL', id);
  }

  #rows(rest: string, ...values: Value[]): Deployment[] {
    const rows = this.#database.all<Deployment>(`SELECT ${selected} FROM deployments ${rest}`, ...values);
    return rows.map((row) => ({ ...row }));
  }
}
