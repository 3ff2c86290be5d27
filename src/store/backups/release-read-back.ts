import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Deployment } from '../../core/types.ts';
import type { Database } from '../database.ts';
import type { SecretsKey } from '../secrets.ts';
import type { BuildsTable } from '../tables/builds-table.ts';
import type { DeploymentsTable } from '../tables/deployments-table.ts';
import type { PreviewsTable } from '../tables/previews-table.ts';
import type { ReleasesTable } from '../tables/releases-table.ts';
import type { ToolsTable } from '../tables/tools-table.ts';
import { ReleaseCopies, type ReleaseCopy } from './release-copies.ts';

/**
 * How many releases of a tool keep their copies, counted from the newest release that went live. An older release keeps
 * its copy only if it can still run. A copy is a file from which a store that lacks the release can read it back.
 */
const MAX_COPIES = 100;

export interface ReadBackOptions {
  /** The data folder. */
  readonly folder: string;
  readonly key: SecretsKey;
  readonly database: Database;
  readonly tools: ToolsTable;
  readonly deployments: DeploymentsTable;
  readonly builds: BuildsTable;
  readonly releases: ReleasesTable;
  readonly previews: PreviewsTable;
}

/** Copies releases to files when they go live, and reads them back into a store that lacks them. */
export class ReadBack {
  readonly copies: ReleaseCopies;
  readonly #options: ReadBackOptions;

  constructor(options: ReadBackOptions) {
    this.#options = options;
    this.copies = new ReleaseCopies(options.folder);
  }

  /**
   * Copies a release from the store to a file, unless an intact copy exists. Such a copy is never outdated, because a
   * release never changes. Does nothing if the store lacks the release or its deployment.
   *
   * @param end - The last changes to the deployment of the release. The copy has them before the store does.
   */
  async copy(tool: ToolName, version: number, end: Partial<Deployment>): Promise<void> {
    const { tools, deployments, builds, releases, previews } = this.#options;
    if (this.copies.read(tool, version) !== null) return;
    const release = releases.copyOf(tool, version);
    const deployment = release === null ? null : deployments.find(release.deploymentId);
    if (release === null || deployment === null) return;
    const build = builds.find(release.artifact.id);
    const previewOf = previews.toolOf(tool);
    const buildDeployment =
      build === null || build.deploymentId === deployment.id ? null : deployments.find(build.deploymentId);
    await this.copies.write({
      toolNumber: tools.tool(tool).number,
      ...(previewOf === null ? {} : { previewOf }),
      release,
      deployment: { ...deployment, ...end },
      build: build === null ? null : { ...build, state: 'BUILD_SUCCESS', artifact: release.artifact },
      buildDeployment,
    });
  }

  /**
   * Copies each of the tool's newest 100 releases that went live, unless the release has a copy. Replaces a torn copy
   * only for the newest of these releases.
   */
  async copyAll(tool: ToolName): Promise<void> {
    const copied = new Set(this.copies.versions(tool));
    const [newest, ...others] = this.#options.releases.wereLive(tool, MAX_COPIES);
    if (newest !== undefined) await this.copy(tool, newest, {});
    for (const version of others) {
      if (!copied.has(version)) await this.copy(tool, version, {});
    }
  }

  settleNumbers(): ToolName[] {
    const { copies } = this;
    const numbers = copies.tools().flatMap((tool): [ToolName, number][] => {
      const copy = copies.newest(tool);
      return copy === null ? [] : [[tool, copy.toolNumber]];
    });
    return this.#options.tools.settleNumbers(new Map(numbers));
  }

  dropOld(tool: ToolName): void {
    const { tools, releases } = this.#options;
    const copied = this.copies.versions(tool);
    if (copied.length <= MAX_COPIES) return;
    const { liveVersion } = tools.tool(tool);
    const needed = new Set([liveVersion, ...releases.wereLive(tool, MAX_COPIES), ...releases.canRun(tool)]);
    const known = releases.commits(tool);
    for (const version of copied) {
      if (known.has(version) && !needed.has(version)) this.copies.remove(tool, version);
    }
  }

  settleLive(tool: ToolName): number | null {
    const { database, tools, releases } = this.#options;
    const { liveVersion } = tools.tool(tool);
    if (liveVersion === null || releases.commits(tool).has(liveVersion)) return liveVersion;
    const [newest = null] = releases.wereLive(tool, 1);
    database.transaction(() => {
      if (newest === null) tools.unsetLive(tool);
      else this.#makeLive(tool, newest);
    });
    return newest;
  }

  /**
   * Enters releases from their copies into the store, and makes the highest of them live, unless a higher release is
   * live.
   *
   * @returns the entered versions.
   */
  enter(tool: ToolName, versions: readonly number[]): number[] {
    const { database, tools, releases } = this.#options;
    const copies = versions
      .toSorted((a, b) => a - b)
      .flatMap((version) => this.copies.read(tool, version) ?? []);
    const newest = copies.at(-1)?.release.version;
    if (newest === undefined) return [];
    database.transaction(() => {
      for (const copy of copies) this.#enterOne(copy);
      tools.skipVersions(tool, newest);
      const { liveVersion } = tools.tool(tool);
      const isOlder = liveVersion !== null && newest < liveVersion && releases.commits(tool).has(liveVersion);
      if (!isOlder) this.#makeLive(tool, newest);
    });
    return copies.map(({ release }) => release.version);
  }

  /** Makes a release live. The store must have the release. Runs within the caller's transaction. */
  #makeLive(tool: ToolName, version: number): void {
    const { tools, releases } = this.#options;
    releases.setEnteredLive(tool, version);
    tools.setLive(tool, version, releases.find(tool, version)?.configVars ?? {});
  }

  #enterOne({ toolNumber, previewOf, release, deployment, build, buildDeployment }: ReleaseCopy): void {
    const { tools, builds, releases, previews } = this.#options;
    const isNew = tools.enter(release.tool, toolNumber);
    // A tool that was a preview becomes one again, so that it has the rights of a preview and is deleted like one.
    if (isNew && previewOf !== undefined)
      previews.mark(release.tool, previewOf, { replicas: 1 }, deployment.createdAt);
    this.#enterDeployment(deployment);
    if (buildDeployment !== null) this.#enterDeployment(buildDeployment);
    if (build !== null && builds.find(build.id) === null) builds.add(build);
    else if (build !== null) builds.end(build.id, build.state, build.artifact, build.endedAt ?? 0);
    releases.enter({ ...release, sealed: this.#openable(release) });
  }

  #enterDeployment(deployment: Deployment): void {
    const { deployments } = this.#options;
    if (deployments.find(deployment.id) === null) deployments.add(deployment, null);
    else deployments.update(deployment.id, deployment);
  }

  /** Returns the encrypted config vars of a copy. Returns empty ones if another key encrypted them. */
  #openable({ tool, version, sealed }: ReleaseCopy['release']): string {
    const context = [tool, `v${version}`];
    try {
      this.#options.key.decrypt(Buffer.from(sealed, 'base64'), context);
      return sealed;
    } catch (error) {
      if (!(error instanceof DeployError)) throw error;
      return this.#options.key.encrypt('{}', context).toString('base64');
    }
  }
}
