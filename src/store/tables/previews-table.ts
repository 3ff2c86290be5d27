import type { ToolName } from '../../core/names.ts';
import type { ToolLimits } from '../../core/tool-limits.ts';
import type { Database } from '../database.ts';
import type { Preview } from '../store.ts';

interface PreviewRow {
  name: ToolName;
  tool: ToolName;
  madeAt: number;
  pushedAt: number | null;
  liveVersion: number | null;
  isEnding: number;
}

const SELECT = `
  SELECT name, preview_of AS tool, preview_at AS madeAt, live_version AS liveVersion, is_ending AS isEnding,
    (SELECT max(created_at) FROM deployments WHERE deployments.tool = tools.name) AS pushedAt
  FROM tools WHERE preview_of`;

const DAY_MS = 24 * 60 * 60 * 1000;
/** The tables with rows of a tool. A table comes before the tables that its rows refer to. */
const TABLES = [
  'config_changes',
  'crashes',
  'scheduled_runs',
  'deploy_tokens',
  'freezes',
  'releases',
  'builds',
  'deployments',
] as const;

/** The previews: the tools that belong to another tool. */
export class PreviewsTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The tool that a preview belongs to. Null if `name` is no preview. */
  toolOf(name: ToolName): ToolName | null {
    const row = this.#database.get<{ tool: ToolName | null }>(
      'SELECT preview_of AS tool FROM tools WHERE name = ?',
      name,
    );
    return row?.tool ?? null;
  }

  /** The number of the tool that the preview with this number belongs to. Returns any other number unchanged. */
  shareOf(toolNumber: number): number {
    const row = this.#database.get<{ number: number }>(
      'SELECT whole.number FROM tools JOIN tools AS whole ON whole.name = tools.preview_of WHERE tools.number = ?',
      toolNumber,
    );
    return row?.number ?? toolNumber;
  }

  /** The previews of one tool, or of all tools. */
  all(tool?: ToolName): Preview[] {
    const rows =
      tool === undefined
        ? this.#database.all<PreviewRow>(`${SELECT} IS NOT NULL ORDER BY name`)
        : this.#database.all<PreviewRow>(`${SELECT} = ? ORDER BY name`, tool);
    return rows.map(toPreview);
  }

  find(name: ToolName): Preview | null {
    const row = this.#database.get<PreviewRow>(`${SELECT} IS NOT NULL AND name = ?`, name);
    return row === null ? null : toPreview(row);
  }

  /**
   * Makes `name` a preview. A new preview gets the number of one that has ended, if there is one: nothing of the ended
   * preview is left, and the numbers of system users are limited. Runs within the caller's transaction.
   */
  add(name: ToolName, tool: ToolName, limits: Partial<ToolLimits>, at: number): void {
    this.#database.run(
      `INSERT INTO tools (number, name) SELECT min(number), ? FROM free_numbers
        WHERE number NOT IN (SELECT number FROM tools) ON CONFLICT DO NOTHING`,
      name,
    );
    this.#database.run('DELETE FROM free_numbers WHERE number IN (SELECT number FROM tools)');
    this.mark(name, tool, limits, at);
  }

  /** Makes the tool `name`, whose row exists, a preview. */
  mark(name: ToolName, tool: ToolName, limits: Partial<ToolLimits>, at: number): void {
    this.#database.run(
      'UPDATE tools SET preview_of = ?, preview_at = ?, limits = ? WHERE name = ?',
      tool,
      at,
      JSON.stringify(limits),
      name,
    );
  }

  markEnding(name: ToolName): void {
    this.#database.run(
      'UPDATE tools SET is_ending = 1, live_version = NULL, config_vars = NULL WHERE name = ? AND preview_of IS NOT NULL',
      name,
    );
  }

  /** Deletes all rows of a preview, but remembers its number, and when its builds of the last day began. */
  remove(name: ToolName, tool: ToolName, now: number): void {
    this.#database.run('DELETE FROM preview_builds WHERE started_at < ?', now - DAY_MS);
    this.#database.run(
      'INSERT INTO preview_builds SELECT ?, started_at FROM builds WHERE tool = ? AND started_at >= ?',
      tool,
      name,
      now - DAY_MS,
    );
    this.#database.run('INSERT INTO free_numbers SELECT number FROM tools WHERE name = ?', name);
    this.dropRows(name);
  }

  /** Deletes all rows of a tool or a preview. Its number is not used again, unless the table `free_numbers` has it. */
  dropRows(name: ToolName): void {
    for (const table of TABLES) this.#database.run(`DELETE FROM ${table} WHERE tool = ?`, name);
    this.#database.run('DELETE FROM tools WHERE name = ?', name);
  }

  /** The start times after `at` of the builds of a tool and of its previews, the oldest first. */
  buildStarts(tool: ToolName, at: number): number[] {
    const rows = this.#database.all<{ startedAt: number }>(
      `SELECT started_at AS startedAt FROM builds
        WHERE tool IN (SELECT name FROM tools WHERE name = ? OR preview_of = ?) AND started_at > ?
      UNION ALL SELECT started_at FROM preview_builds WHERE tool = ? AND started_at > ?
      ORDER BY startedAt`,
      tool,
      tool,
      at,
      tool,
      at,
    );
    return rows.map(({ startedAt }) => startedAt);
  }

  /** The names of the config vars that new previews of a tool get. */
  shared(tool: ToolName): string[] {
    const row = this.#database.get<{ shared: string }>('SELECT shared FROM tools WHERE name = ?', tool);
    return row === null ? [] : JSON.parse(row.shared);
  }

  setShared(tool: ToolName, names: readonly string[]): void {
    this.#database.run('UPDATE tools SET shared = ? WHERE name = ?', JSON.stringify(names), tool);
  }
}

function toPreview({ madeAt, pushedAt, isEnding, ...row }: PreviewRow): Preview {
  return { ...row, usedAt: Math.max(madeAt, pushedAt ?? 0), isEnding: isEnding !== 0 };
}
