import type { ToolName } from '../../core/names.ts';
import type { PastRun } from '../../core/types.ts';
import type { Database } from '../database.ts';

const selected =
  'sequence AS number, type, started_at AS startedAt, ended_at AS endedAt, exit_code AS exitCode, detail';

/** The scheduled runs that have ended: the newest `kept` of each tool. */
export class ScheduledRunsTable {
  readonly #database: Database;
  readonly #kept: number;

  constructor(database: Database, kept: number) {
    this.#database = database;
    this.#kept = kept;
  }

  /**
   * Adds a run, unless the table has a run of the same tool, process type and start time. Deletes all but the newest
   * `kept` runs of the tool.
   */
  add(tool: ToolName, { type, startedAt, endedAt, exitCode, detail }: Omit<PastRun, 'number'>): void {
    this.#database.run(
      `INSERT INTO scheduled_runs (tool, type, started_at, ended_at, exit_code, detail)
        VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      tool,
      type,
      startedAt,
      endedAt,
      exitCode,
      detail,
    );
    this.#database.run(
      `DELETE FROM scheduled_runs WHERE tool = ? AND sequence <=
        (SELECT sequence FROM scheduled_runs WHERE tool = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?)`,
      tool,
      tool,
      this.#kept,
    );
  }

  newest(tool: ToolName, type: string | null, limit: number): PastRun[] {
    return this.#database.all<PastRun>(
      `SELECT ${selected} FROM scheduled_runs WHERE tool = ? AND (? IS NULL OR type = ?)
        ORDER BY sequence DESC LIMIT ?`,
      tool,
      type,
      type,
      limit,
    );
  }
}
