import { join } from 'node:path';
import type { CommitId, ToolName } from '../core/names.ts';
import { replicasKept } from '../core/replicas.ts';
import { lowest, type ToolLimits } from '../core/tool-limits.ts';
import type {
  Artifact,
  Build,
  BuildState,
  ConfigChange,
  Crashes,
  Deployment,
  DeploymentRequest,
  DeployToken,
  PastRun,
  Release,
  Replicas,
  Sizes,
} from '../core/types.ts';
import { ReadBack } from './backups/release-read-back.ts';
import { DataLock } from './data-lock.ts';
import { Database } from './database.ts';
import { migrate } from './migrate.ts';
import { noteRename } from './renames/follow-renames.ts';
import { type RenameNote, readNotes } from './renames/rename-notes.ts';
import { type SecretsKey, wrongKey } from './secrets.ts';
import type {
  EnteredTool,
  Freeze,
  ListedRelease,
  Preview,
  ReleaseRecord,
  Store,
  ToolRecord,
} from './store.ts';
import { BEGUN_ANEW } from './store-facts.ts';
import type { CheckedStore } from './store-health.ts';
import { BuildsTable } from './tables/builds-table.ts';
import { ConfigChangesTable } from './tables/config-changes-table.ts';
import { CrashesTable } from './tables/crashes-table.ts';
import { DeploymentsTable } from './tables/deployments-table.ts';
import { enterTool } from './tables/enter-tool.ts';
import { FreezesTable } from './tables/freezes-table.ts';
import { dropOldRows, MAX_ROWS } from './tables/old-rows.ts';
import { PreviewsTable } from './tables/previews-table.ts';
import { ReleasesTable } from './tables/releases-table.ts';
import { renamedTo, renameTool } from './tables/rename-tool.ts';
import { ScheduledRunsTable } from './tables/scheduled-runs-table.ts';
import { TokensTable } from './tables/tokens-table.ts';
import { ToolsTable } from './tables/tools-table.ts';

/**
 * The store as one SQLite file, `store.sqlite` in the data folder, for one server at a time. Accepted deployments, live
 * releases, config vars and tokens are on the disk before a call returns. Calls that record other things, such as the
 * steps of a deployment, do not wait for the disk.
 */
export class SqliteStore implements Store, CheckedStore {
  readonly #folder: string;
  readonly #key: SecretsKey;
  readonly #lock: DataLock;
  readonly #database: Database;
  readonly #tools: ToolsTable;
  readonly #deployments: DeploymentsTable;
  readonly #builds: BuildsTable;
  readonly #releases: ReleasesTable;
  readonly #tokens: TokensTable;
  readonly #freezes: FreezesTable;
  readonly #configChanges: ConfigChangesTable;
  readonly #crashes: CrashesTable;
  readonly #scheduledRuns: ScheduledRunsTable;
  readonly #previews: PreviewsTable;
  readonly #readBack: ReadBack;
  readonly #keptRows: number;

  /**
   * Opens the store of an existing data folder, or creates it.
   *
   * @param keptRows - How many of the newest rows of a tool the store keeps, of each kind.
   * @param lock - The folder's lock. The store releases the lock when the store is closed or cannot be opened.
   * @throws DeployError `STORE_NEWER` if a later version of this server wrote the store; `STORE_KEY` if another key
   * encrypted it; `STORE_FULL` if the disk cannot be written; `STORE_DAMAGED` if the file is corrupt. Without `lock`,
   * also every error of `new DataLock`.
   */
  constructor(
    folder: string,
    key: SecretsKey,
    lock: DataLock = new DataLock(folder),
    keptRows: number = MAX_ROWS,
  ) {
    this.#folder = folder;
    this.#key = key;
    this.#lock = lock;
    this.#keptRows = keptRows;
    try {
      this.#database = openDatabase(folder, key);
    } catch (error) {
      this.#lock[Symbol.dispose]();
      throw error;
    }
    this.#tools = new ToolsTable(this.#database, key);
    this.#deployments = new DeploymentsTable(this.#database);
    this.#builds = new BuildsTable(this.#database);
    this.#releases = new ReleasesTable(this.#database, key);
    this.#tokens = new TokensTable(this.#database);
    this.#freezes = new FreezesTable(this.#database);
    this.#configChanges = new ConfigChangesTable(this.#database, key, keptRows);
    this.#crashes = new CrashesTable(this.#database);
    this.#scheduledRuns = new ScheduledRunsTable(this.#database, keptRows);
    this.#previews = new PreviewsTable(this.#database);
    this.#readBack = new ReadBack({
      folder,
      key,
      database: this.#database,
      tools: this.#tools,
      deployments: this.#deployments,
      builds: this.#builds,
      releases: this.#releases,
      previews: this.#previews,
    });
  }

  assertWritable(): void {
    this.#database.assertWritable();
  }

  async assertWhole(): Promise<number> {
    return await this.#database.assertWhole();
  }

  tool(name: ToolName): ToolRecord {
    return this.#tools.tool(name);
  }

  recordOf(name: ToolName): ToolRecord | null {
    return this.#tools.recordOf(name);
  }

  tools(): ToolRecord[] {
    return this.#tools.tools();
  }

  setStopped(tool: ToolName, isStopped: boolean): void {
    this.#tools.setStopped(tool, isStopped);
  }

  previewOf(name: ToolName): ToolName | null {
    return this.#previews.toolOf(name);
  }

  shareOf(toolNumber: number): number {
    return this.#previews.shareOf(toolNumber);
  }

  previews(tool?: ToolName): Preview[] {
    return this.#previews.all(tool);
  }

  preview(name: ToolName): Preview | null {
    return this.#previews.find(name);
  }

  addPreview(
    name: ToolName,
    tool: ToolName,
    { limits, by, at }: { limits: Partial<ToolLimits>; by: string; at: number },
  ): void {
    const vars = this.#tools.configVars(tool);
    const shared = this.#previews.shared(tool).filter((one) => Object.hasOwn(vars, one));
    this.#database.transaction(() => {
      this.#previews.add(name, tool, limits, at);
      const given = Object.fromEntries(shared.map((one) => [one, vars[one] ?? '']));
      this.#configChanges.add(name, [{}, given], { version: null, by, at });
      this.#tools.setConfigVars(name, given);
    });
  }

  markEnding(preview: ToolName): void {
    this.#previews.markEnding(preview);
  }

  removePreview(preview: ToolName, now: number): void {
    const tool = this.#previews.toolOf(preview);
    if (tool === null) throw new Error(`There is no preview ${preview}.`);
    this.#database.transaction(() => this.#previews.remove(preview, tool, now));
  }

  sharedConfig(tool: ToolName): readonly string[] {
    return this.#previews.shared(tool);
  }

  setSharedConfig(tool: ToolName, names: readonly string[]): void {
    this.#tools.tool(tool);
    this.#previews.setShared(tool, [...new Set(names)].sort());
  }

  ownLimits(tool: ToolName): Partial<ToolLimits> {
    const own = this.#tools.ownLimits(tool);
    const whole = this.previewOf(tool);
    return whole === null ? own : { ...own, ...lowest(own, this.#tools.ownLimits(whole)) };
  }

  storedLimits(tool: ToolName): Partial<ToolLimits> {
    return this.#tools.ownLimits(tool);
  }

  setOwnLimits(tool: ToolName, limits: Partial<ToolLimits>): void {
    this.#tools.setOwnLimits(tool, limits);
  }

  enterTool(tool: ToolName, entered: EnteredTool): void {
    const tables = {
      tools: this.#tools,
      deployments: this.#deployments,
      releases: this.#releases,
      configChanges: this.#configChanges,
      previews: this.#previews,
    };
    this.#database.transaction(() => enterTool(tables, tool, entered));
  }

  renameTool(from: ToolName, to: ToolName, at: number): RenameNote {
    const artifacts = join(this.#folder, 'artifacts');
    const note = { number: this.#tools.begin(from).number, from, to, at };
    this.#database.transaction(() => {
      renameTool(this.#database, this.#key, { from, to }, { artifacts, at });
      noteRename(this.#database, note);
    });
    return note;
  }

  renamedTo(old: string): ToolName | null {
    return renamedTo(this.#database, old);
  }

  assertNamed(tool: ToolName): void {
    this.#tools.assertNamed(tool);
  }

  reuseName(tool: ToolName): void {
    this.#tools.begin(tool);
  }

  freeze(tool: ToolName | null, reason: string, at: number): void {
    this.#freezes.set(tool, reason, at);
  }

  unfreeze(tool: ToolName | null): boolean {
    return this.#freezes.end(tool);
  }

  freezeOf(tool: ToolName): Freeze | null {
    const own = this.#freezes.of(tool);
    const whole = this.#previews.toolOf(tool);
    return whole === null || own?.isOfAll === false ? own : this.#freezes.of(whole);
  }

  setMaintenance(tool: ToolName, isInMaintenance: boolean): void {
    this.#tools.setMaintenance(tool, isInMaintenance);
  }

  addDeployment(deployment: Deployment, request: DeploymentRequest | null = null): void {
    this.#tools.tool(deployment.tool);
    this.#deployments.add(deployment, request);
  }

  updateDeployment(id: string, change: Partial<Omit<Deployment, 'id' | 'tool'>>): void {
    this.#database.withoutWaiting(() => {
      this.#deployments.update(id, change);
      if (change.endedAt) this.#deployments.forgetRequest(id);
    });
  }

  deployment(id: string): Deployment | null {
    return this.#deployments.find(id);
  }

  deployments(tool: ToolName, limit: number): Deployment[] {
    return this.#deployments.newest(tool, limit);
  }

  unfinishedDeployments(): Deployment[] {
    return this.#deployments.unfinished();
  }

  requestOf(deploymentId: string): DeploymentRequest | null {
    return this.#deployments.requestOf(deploymentId);
  }

  addBuild(build: Build): void {
    this.#database.withoutWaiting(() => this.#builds.add(build));
  }

  endBuild(id: string, state: BuildState, artifact: Artifact | null, endedAt: number): void {
    this.#database.withoutWaiting(() => this.#builds.end(id, state, artifact, endedAt));
  }

  build(id: string): Build | null {
    return this.#builds.find(id);
  }

  builds(tool: ToolName, limit: number): Build[] {
    return this.#builds.newest(tool, limit);
  }

  buildsWithArtifact(tool: ToolName): string[] {
    return this.#builds.withArtifact(tool);
  }

  buildStarts(tool: ToolName, at: number): number[] {
    return this.#previews.buildStarts(this.#previews.toolOf(tool) ?? tool, at);
  }

  newestBuildOf(tool: ToolName, commit: CommitId): Build | null {
    return this.#builds.newestOf(tool, commit);
  }

  forgetArtifact(buildId: string): void {
    this.#builds.forgetArtifact(buildId);
  }

  addRelease(release: Omit<Release, 'version'>): Release {
    const { liveVersion } = this.#tools.tool(release.tool);
    const add = () =>
      this.#database.transaction(() => {
        const added = { ...release, version: this.#tools.nextVersion(release.tool) };
        this.#releases.add(added);
        return this.#limited(added);
      });
    // While nothing of the tool is live, the version of a release must be on the disk before the release is copied.
    // Otherwise, after a power failure, the copy would have a version that the store does not know. If the repository
    // has no release refs, the next start would make that release live.
    return liveVersion === null ? add() : this.#database.withoutWaiting(add);
  }

  release(tool: ToolName, version: number): ReleaseRecord | null {
    const release = this.#releases.find(tool, version);
    return release === null ? null : this.#limited(release);
  }

  #limited<Given extends Release>(release: Given): Given {
    const { memory } = this.ownLimits(release.tool);
    const sizes = this.#tools.sizes(release.tool);
    return {
      ...release,
      ...(memory === undefined ? {} : { mostMemoryBytes: memory }),
      ...(Object.keys(sizes).length === 0 ? {} : { sizes }),
    };
  }

  artifactIds(tool: ToolName): { version: number; state: ReleaseRecord['state']; artifact: string }[] {
    return this.#releases.artifactIds(tool);
  }

  releases(tool: ToolName, limit: number, before?: number): ListedRelease[] {
    return this.#releases.newest(tool, limit, before);
  }

  notePromotion(tool: ToolName, version: number, to: string): void {
    this.#database.withoutWaiting(() => this.#releases.notePromotion(tool, version, to));
  }

  failRelease(tool: ToolName, version: number): void {
    this.#database.withoutWaiting(() => this.#releases.fail(tool, version));
    this.#readBack.copies.remove(tool, version);
  }

  createdReleases(tool: ToolName): ReadonlyMap<number, string> {
    return this.#releases.created(tool);
  }

  releaseBytes(tool: ToolName, after: number, until: number): number {
    return this.#releases.bytes(this.#previews.toolOf(tool) ?? tool, after, until);
  }

  releaseCommits(tool: ToolName): ReadonlyMap<number, CommitId> {
    return this.#releases.commits(tool);
  }

  copiedVersions(tool: ToolName): number[] {
    return this.#readBack.copies.versions(tool);
  }

  copiedTools(): ToolName[] {
    return this.#readBack.copies.tools();
  }

  newerCopies(tool: ToolName): number[] {
    const last = this.#tools.lastVersion(tool);
    return this.#readBack.copies.versions(tool).filter((version) => version > last);
  }

  async copyReleases(tool: ToolName): Promise<void> {
    await this.#readBack.copyAll(tool);
  }

  settleNumbers(): ToolName[] {
    return this.#readBack.settleNumbers();
  }

  readBack(tool: ToolName, versions: readonly number[]): number[] {
    return this.#readBack.enter(tool, versions);
  }

  skipVersions(tool: ToolName, upTo: number): void {
    this.#tools.skipVersions(tool, upTo);
  }

  /**
   * If the store lacks the release that it calls live, makes another release live: the newest in the store that was
   * live before.
   *
   * @returns the live version, or null if nothing is live.
   */
  settleLive(tool: ToolName): number | null {
    return this.#readBack.settleLive(tool);
  }

  dropOldCopies(tool: ToolName): void {
    this.#readBack.dropOld(tool);
  }

  dropOldRows(tool: ToolName, now: number): void {
    this.#database.withoutWaiting(() =>
      this.#database.transaction(() => dropOldRows(this.#database, tool, { now, kept: this.#keptRows })),
    );
  }

  async copyRelease(tool: ToolName, version: number, at: number): Promise<void> {
    await this.#readBack.copy(tool, version, { state: 'live', version, reason: null, endedAt: at });
  }

  goLive(tool: ToolName, version: number, deploymentId: string, at: number): void {
    this.#database.transaction(() => {
      const { liveVersion } = this.#tools.tool(tool);
      const live = liveVersion === null ? null : this.#releases.find(tool, liveVersion);
      const next = this.#releases.find(tool, version);
      this.#releases.setLive(tool, version);
      if (liveVersion === version || next === null) this.#tools.setStopped(tool, false);
      else {
        const { configVars, by } = next;
        this.#configChanges.add(tool, [this.#tools.configVars(tool), configVars], { version, by, at });
        this.#tools.setLive(tool, version, configVars);
        if (live !== null) this.#deployments.forgetRequest(live.deploymentId);
      }
      const kept = next === null ? {} : replicasKept(live, next);
      if (Object.keys(kept).length > 0)
        this.#tools.setReplicas(tool, { ...kept, ...this.#tools.replicas(tool) });
      this.#deployments.update(deploymentId, { state: 'live', version, reason: null, endedAt: at });
    });
  }

  addCrash(tool: ToolName, version: number, crash: { process: string; at: number; words: string }): void {
    this.#tools.tool(tool);
    this.#database.withoutWaiting(() => this.#crashes.add(tool, version, crash));
  }

  crashes(tool: ToolName): Crashes[] {
    return this.#crashes.of(tool);
  }

  configVars(tool: ToolName): Record<string, string> {
    return this.#tools.configVars(tool);
  }

  setConfigVars(tool: ToolName, vars: Readonly<Record<string, string>>, by: string): void {
    this.#database.transaction(() => {
      this.#tools.tool(tool);
      const change = { version: null, by, at: Date.now() };
      this.#configChanges.add(tool, [this.#tools.configVars(tool), vars], change);
      this.#tools.setConfigVars(tool, vars);
    });
  }

  configChanges(tool: ToolName, limit: number, skip = 0): ConfigChange[] {
    return this.#configChanges.newest(tool, limit, skip);
  }

  addToken(token: DeployToken, hash: Uint8Array): void {
    this.#tools.tool(token.tool);
    this.#tokens.add(token, hash);
  }

  token(id: string): { readonly token: DeployToken; readonly hash: Uint8Array } | null {
    return this.#tokens.find(id);
  }

  tokens(tool: ToolName): DeployToken[] {
    return this.#tokens.newest(tool);
  }

  useToken(id: string, at: number): void {
    this.#database.withoutWaiting(() => this.#tokens.use(id, at));
  }

  removeToken(tool: ToolName, id: string): boolean {
    return this.#tokens.remove(tool, id);
  }

  sizes(tool: ToolName): Sizes {
    return this.#tools.sizes(tool);
  }

  replicas(tool: ToolName): Replicas {
    return this.#tools.replicas(tool);
  }

  setReplicas(tool: ToolName, replicas: Replicas, deploymentId: string, at: number, sizes?: Sizes): void {
    this.#database.transaction(() => {
      this.#tools.setReplicas(tool, replicas);
      if (sizes !== undefined) this.#tools.setSizes(tool, sizes);
      this.#deployments.update(deploymentId, { state: 'live', reason: null, endedAt: at });
    });
  }

  pausedSchedules(tool: ToolName): readonly string[] {
    return this.#tools.paused(tool);
  }

  setPaused(tool: ToolName, type: string, isPaused: boolean): void {
    this.#database.transaction(() => {
      const others = this.#tools.paused(tool).filter((one) => one !== type);
      this.#tools.setPaused(tool, isPaused ? [...others, type].sort() : others);
    });
  }

  addScheduledRun(tool: ToolName, run: Omit<PastRun, 'number'>): void {
    this.#database.withoutWaiting(() =>
      this.#database.transaction(() => {
        this.#tools.tool(tool);
        this.#scheduledRuns.add(tool, run);
      }),
    );
  }

  scheduledRuns(tool: ToolName, type: string | null, limit: number): PastRun[] {
    return this.#scheduledRuns.newest(tool, type, limit);
  }

  /** Records that the operator chose an empty store, so that the server accepts it at its next start. */
  beginAnew(): void {
    const notes = readNotes(this.#folder);
    this.#database.transaction(() => {
      this.#database.run(
        'INSERT INTO facts VALUES (?, ?) ON CONFLICT DO NOTHING',
        BEGUN_ANEW,
        new Date().toISOString(),
      );
      // Record all renames as known to the new store, because the copies of releases have the present names already.
      for (const note of notes) noteRename(this.#database, note);
    });
  }

  close(): void {
    this.#database.close();
    this.#lock[Symbol.dispose]();
  }
}

function openDatabase(folder: string, key: SecretsKey): Database {
  const database = new Database(join(folder, 'store.sqlite'));
  try {
    migrate(database);
    checkKey(database, key);
    moveArtifacts(database, join(folder, 'artifacts'));
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** If the data folder was moved, makes the paths of all artifacts that are folders lead into its present place. */
function moveArtifacts(database: Database, artifacts: string): void {
  for (const table of ['builds', 'releases'])
    database.run(
      `UPDATE ${table} SET artifact = json_set(artifact, '$.reference', ?1 || '/' || tool || '/' || json_extract(artifact, '$.id'))
      WHERE json_extract(artifact, '$.kind') = 'slug'
        AND json_extract(artifact, '$.reference') NOT IN ('', ?1 || '/' || tool || '/' || json_extract(artifact, '$.id'))`,
      artifacts,
    );
}

/**
 * Checks the key: the key with which a server first opened the store stays the key of the store. @throws DeployError
 * `STORE_KEY` for another key.
 */
function checkKey(database: Database, key: SecretsKey): void {
  database.run(`INSERT INTO facts VALUES ('secrets-key', ?) ON CONFLICT DO NOTHING`, key.id);
  const row = database.get<{ value: string }>(`SELECT value FROM facts WHERE name = 'secrets-key'`);
  if (row !== null && row.value !== key.id) throw wrongKey(row.value, key.id);
}
