import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { ToolLimits } from '../../core/tool-limits.ts';
import type { Replicas, Sizes } from '../../core/types.ts';
import type { Database } from '../database.ts';
import type { SecretsKey } from '../secrets.ts';
import type { ToolRecord } from '../store.ts';
import { renamedTo } from './rename-tool.ts';

interface ToolRow {
  name: ToolName;
  number: number;
  liveVersion: number | null;
  isStopped: number;
  isInMaintenance: number;
}

const columns =
  'name, number, live_version AS liveVersion, is_stopped AS isStopped, is_in_maintenance AS isInMaintenance';

/** The tools and the config vars that their next release gets. */
export class ToolsTable {
  readonly #database: Database;
  readonly #key: SecretsKey;

  constructor(database: Database, key: SecretsKey) {
    this.#database = database;
    this.#key = key;
  }

  /**
   * The record of the tool. Makes the record at the first use of the tool. @throws DeployError `TOOL_RENAMED` as
   * `assertNamed` does.
   */
  tool(name: ToolName): ToolRecord {
    const known = this.recordOf(name);
    if (known !== null) return known;
    this.assertNamed(name);
    return this.begin(name);
  }

  /**
   * Refuses the name that a tool had before its rename. Otherwise, a command that began before the rename could store
   * something under the old name, which the next tool of that name could read.
   *
   * @throws DeployError `TOOL_RENAMED` if a tool had this name before it was renamed, and no tool has the name now.
   */
  assertNamed(name: ToolName): void {
    const now = renamedTo(this.#database, name);
    if (now === null) return;
    throw new DeployError(
      'TOOL_RENAMED',
      `the tool ${name} is now called ${now}`,
      `Nothing was stored. Do it again with the name ${now}.`,
    );
  }

  /** The tool's record, created if it is missing. Unlike `tool`, also accepts the old name of a renamed tool. */
  begin(name: ToolName): ToolRecord {
    this.#database.run('INSERT INTO tools (name) VALUES (?) ON CONFLICT DO NOTHING', name);
    const made = this.recordOf(name);
    if (made === null) throw new Error(`The record of ${name} was not made.`);
    return made;
  }

  tools(): ToolRecord[] {
    return this.#database.all<ToolRow>(`SELECT ${columns} FROM tools ORDER BY name`).map(toRecord);
  }

  setStopped(name: ToolName, isStopped: boolean): void {
    this.tool(name);
    this.#database.run('UPDATE tools SET is_stopped = ? WHERE name = ?', Number(isStopped), name);
  }

  setMaintenance(name: ToolName, isInMaintenance: boolean): void {
    this.tool(name);
    this.#database.run(
      'UPDATE tools SET is_in_maintenance = ? WHERE name = ?',
      Number(isInMaintenance),
      name,
    );
  }

  /**
   * Records the live version of a tool and its config vars, and that the tool is not stopped. Runs within the caller's
   * transaction.
   */
  setLive(name: ToolName, version: number, vars: Readonly<Record<string, string>>): void {
    this.#database.run(
      'UPDATE tools SET live_version = ?, is_stopped = 0, config_vars = ? WHERE name = ?',
      version,
      this.#seal(name, vars),
      name,
    );
  }

  /** Records that nothing is live, for a store that has lost its releases. */
  unsetLive(name: ToolName): void {
    this.#database.run('UPDATE tools SET live_version = NULL WHERE name = ?', name);
  }

  /**
   * Creates the record of a tool whose release is read back from its copy. The tool gets its old number unless another
   * tool has it.
   *
   * @returns false if the tool has a record already.
   */
  enter(name: ToolName, number: number): boolean {
    if (this.recordOf(name) !== null) return false;
    this.#database.run(
      'INSERT INTO tools (number, name) VALUES (?, ?) ON CONFLICT (number) DO NOTHING',
      number,
      name,
    );
    this.begin(name);
    return true;
  }

  /**
   * Gives each tool the number that it has in `copied`. If a tool without copies has one of these numbers, it gets a
   * new number. Tools that are added later get higher numbers than all present ones.
   *
   * @param copied - For each tool with copies of releases: the tool's number in its newest copy.
   * @returns the tools that got another number.
   */
  settleNumbers(copied: ReadonlyMap<ToolName, number>): ToolName[] {
    const tools = this.tools();
    const owners = new Map([...copied].map(([name, number]) => [number, name]));
    // If the copies of two tools have the same number, the tool with this number in the store keeps it.
    for (const { name, number } of tools) if (copied.get(name) === number) owners.set(number, name);
    const owned = new Map([...owners].map(([number, name]) => [name, number]));
    const moved = tools.filter(
      ({ name, number }) => (owned.get(name) ?? number) !== number || (owners.get(number) ?? name) !== name,
    );
    const given = this.#highestNumber();
    let highest = Math.max(given, ...owners.keys());
    if (moved.length === 0 && highest === given) return [];
    this.#database.transaction(() => {
      // Two tools may have swapped their numbers. So each first gets a number that no tool can have.
      for (const { number } of moved)
        this.#database.run('UPDATE tools SET number = ? WHERE number = ?', -number, number);
      for (const { name } of moved) {
        const own = owned.get(name);
        if (own === undefined) highest += 1;
        this.#database.run('UPDATE tools SET number = ? WHERE name = ?', own ?? highest, name);
      }
      for (const number of owners.keys())
        this.#database.run('DELETE FROM free_numbers WHERE number = ?', number);
      this.#database.run(`DELETE FROM sqlite_sequence WHERE name = 'tools'`);
      this.#database.run(`INSERT INTO sqlite_sequence (name, seq) VALUES ('tools', ?)`, highest);
    });
    return moved.map(({ name }) => name);
  }

  /** The highest number that a tool has had. */
  #highestNumber(): number {
    const row = this.#database.get<{ seq: number }>(`SELECT seq FROM sqlite_sequence WHERE name = 'tools'`);
    return row?.seq ?? 0;
  }

  /**
   * The highest version that a release of the tool was given, or that was skipped. 0 if the tool has had no release.
   */
  lastVersion(name: ToolName): number {
    const row = this.#database.get<{ version: number }>(
      'SELECT last_version AS version FROM tools WHERE name = ?',
      name,
    );
    return row?.version ?? 0;
  }

  /** Makes sure that the tool's next release gets a version higher than `upTo`. */
  skipVersions(name: ToolName, upTo: number): void {
    this.#database.run(
      'UPDATE tools SET last_version = ? WHERE name = ? AND last_version < ?',
      upTo,
      name,
      upTo,
    );
  }

  /** Returns the version for the tool's next release, and records it. Runs within the caller's transaction. */
  nextVersion(name: ToolName): number {
    const row = this.#database.get<{ version: number }>(
      'UPDATE tools SET last_version = last_version + 1 WHERE name = ? RETURNING last_version AS version',
      name,
    );
    if (row === null) throw new Error(`There is no record of ${name}.`);
    return row.version;
  }

  configVars(name: ToolName): Record<string, string> {
    const row = this.#database.get<{ sealed: Uint8Array | null }>(
      'SELECT config_vars AS sealed FROM tools WHERE name = ?',
      name,
    );
    const sealed = row?.sealed ?? null;
    return sealed === null ? {} : JSON.parse(this.#key.decrypt(sealed, [name, 'vars']));
  }

  setConfigVars(name: ToolName, vars: Readonly<Record<string, string>>): void {
    this.#database.run('UPDATE tools SET config_vars = ? WHERE name = ?', this.#seal(name, vars), name);
  }

  replicas(name: ToolName): Replicas {
    const row = this.#database.get<{ replicas: string }>('SELECT replicas FROM tools WHERE name = ?', name);
    return row === null ? {} : JSON.parse(row.replicas);
  }

  setReplicas(name: ToolName, replicas: Replicas): void {
    this.tool(name);
    this.#database.run('UPDATE tools SET replicas = ? WHERE name = ?', JSON.stringify(replicas), name);
  }

  sizes(name: ToolName): Sizes {
    const row = this.#database.get<{ sizes: string }>('SELECT sizes FROM tools WHERE name = ?', name);
    return row === null ? {} : JSON.parse(row.sizes);
  }

  setSizes(name: ToolName, sizes: Sizes): void {
    this.tool(name);
    this.#database.run('UPDATE tools SET sizes = ? WHERE name = ?', JSON.stringify(sizes), name);
  }

  /** The process types whose schedules are paused. */
  paused(name: ToolName): string[] {
    const row = this.#database.get<{ paused: string }>('SELECT paused FROM tools WHERE name = ?', name);
    return row === null ? [] : JSON.parse(row.paused);
  }

  setPaused(name: ToolName, types: readonly string[]): void {
    this.tool(name);
    this.#database.run('UPDATE tools SET paused = ? WHERE name = ?', JSON.stringify(types), name);
  }

  ownLimits(name: ToolName): Partial<ToolLimits> {
    const row = this.#database.get<{ limits: string }>('SELECT limits FROM tools WHERE name = ?', name);
    return row === null ? {} : JSON.parse(row.limits);
  }

  setOwnLimits(name: ToolName, limits: Partial<ToolLimits>): void {
    this.tool(name);
    this.#database.run('UPDATE tools SET limits = ? WHERE name = ?', JSON.stringify(limits), name);
  }

  #seal(name: ToolName, vars: Readonly<Record<string, string>>): Buffer {
    return this.#key.encrypt(JSON.stringify(vars), [name, 'vars']);
  }

  /** The record of the tool. Null if it has none. */
  recordOf(name: ToolName): ToolRecord | null {
    const row = this.#database.get<ToolRow>(`SELECT ${columns} FROM tools WHERE name = ?`, name);
    return row === null ? null : toRecord(row);
  }
}

function toRecord(row: ToolRow): ToolRecord {
  return { ...row, isStopped: row.isStopped !== 0, isInMaintenance: row.isInMaintenance !== 0 };
}
