import type { ToolName } from '../../core/names.ts';
import type { Database } from '../database.ts';
import type { Freeze } from '../store.ts';

/** The name of the row that freezes all tools. No tool can have this name. */
const ALL = '';

/** The tools that an operator has frozen. */
export class FreezesTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Freezes a tool, or changes the reason of its freeze. @param tool - Null means all tools. */
  set(tool: ToolName | null, reason: string, at: number): void {
    this.#database.run(
      'INSERT INTO freezes VALUES (?, ?, ?) ON CONFLICT (tool) DO UPDATE SET reason = excluded.reason, at = excluded.at',
      tool ?? ALL,
      reason,
      at,
    );
  }

  /**
   * Ends the freeze of a tool, or the freeze of all tools if `tool` is null. @returns false if there was no such
   * freeze.
   */
  end(tool: ToolName | null): boolean {
    return this.#database.get('DELETE FROM freezes WHERE tool = ? RETURNING tool', tool ?? ALL) !== null;
  }

  /** The freeze of the tool itself, or else the freeze of all tools. Null if there is neither. */
  of(tool: ToolName): Freeze | null {
    const row = this.#database.get<{ tool: string; reason: string; at: number }>(
      'SELECT tool, reason, at FROM freezes WHERE tool IN (?, ?) ORDER BY tool DESC LIMIT 1',
      tool,
      ALL,
    );
    return row === null ? null : { reason: row.reason, at: row.at, isOfAll: row.tool === ALL };
  }
}
