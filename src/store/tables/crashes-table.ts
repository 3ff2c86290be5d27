import type { ToolName } from '../../core/names.ts';
import type { Crashes } from '../../core/types.ts';
import type { Database } from '../database.ts';

/** How often the processes of each release crashed after the release went live. */
export class CrashesTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Counts one more crash of a process. */
  add(
    tool: ToolName,
    version: number,
    { process, at, words }: { process: string; at: number; words: string },
  ): void {
    this.#database.run(
      `INSERT INTO crashes (tool, version, process, count, first_at, last_at, words) VALUES (?, ?, ?, 1, ?, ?, ?)
        ON CONFLICT DO UPDATE SET count = count + 1, last_at = excluded.last_at, words = excluded.words`,
      tool,
      version,
      process,
      at,
      at,
      words,
    );
  }

  /** The crashes of the tool's releases, the newest release first. */
  of(tool: ToolName): Crashes[] {
    return this.#database
      .all<Crashes>(
        `SELECT version, process, count, first_at AS firstAt, last_at AS lastAt, words FROM crashes
          WHERE tool = ? ORDER BY version DESC, process`,
        tool,
      )
      .map((row) => ({ ...row }));
  }
}
