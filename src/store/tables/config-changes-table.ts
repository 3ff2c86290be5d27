import type { ToolName } from '../../core/names.ts';
import type { ConfigChange } from '../../core/types.ts';
import { changedNames } from '../../core/variables/config-changes.ts';
import type { Database } from '../database.ts';
import type { SecretsKey } from '../secrets.ts';

type Vars = Readonly<Record<string, string>>;

/** The changes of config vars, without values. The names are encrypted, like the config vars themselves. */
export class ConfigChangesTable {
  readonly #database: Database;

  readonly #key: SecretsKey;
  readonly #kept: number;

  /**
   * @param kept - How many changes of a tool stay in the table. `add` deletes older ones, because nothing else limits
   * the changes that are stored without a deployment.
   */
  constructor(database: Database, key: SecretsKey, kept: number) {
    this.#database = database;
    this.#key = key;
    this.#kept = kept;
  }

  /** Adds the change from `before` to `after`, if they differ. Runs within the caller's transaction. */
  add(
    tool: ToolName,
    [before, after]: readonly [Vars, Vars],
    change: Pick<ConfigChange, 'version' | 'by' | 'at'>,
  ): void {
    const names = changedNames(before, after);
    if (Object.values(names).every((list) => list.length === 0)) return;
    this.#database.run(
      'INSERT INTO config_changes (tool, version, "by", names, at) VALUES (?, ?, ?, ?, ?)',
      tool,
      change.version,
      change.by,
      this.#key.encrypt(JSON.stringify(names), contextOf(tool)),
      change.at,
    );
    this.#database.run(
      `DELETE FROM config_changes WHERE tool = ? AND sequence <= (
         SELECT sequence FROM config_changes WHERE tool = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?)`,
      tool,
      tool,
      this.#kept,
    );
  }

  newest(tool: ToolName, limit: number, skip: number): ConfigChange[] {
    return this.#database
      .all<Pick<ConfigChange, 'version' | 'by' | 'at'> & { names: Uint8Array }>(
        'SELECT version, "by", names, at FROM config_changes WHERE tool = ? ORDER BY sequence DESC LIMIT ? OFFSET ?',
        tool,
        limit,
        skip,
      )
      .map(({ names, ...change }) => ({
        ...change,
        ...JSON.parse(this.#key.decrypt(names, contextOf(tool))),
      }));
  }
}

function contextOf(tool: ToolName): string[] {
  return [tool, 'config changes'];
}
