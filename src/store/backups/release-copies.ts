import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../../core/disk/sync-folder.ts';
import { systemCode } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import type { Artifact, Build, Deployment, Release } from '../../core/types.ts';
import { explain } from '../database.ts';

/** A release, with all that is needed to enter it into a store that has lost it. */
export interface ReleaseCopy {
  readonly toolNumber: number;
  /** The tool that the preview belongs to, if the release is of a preview. Otherwise absent. */
  readonly previewOf?: ToolName;
  /** `sealed`: the config vars as the store has them, encrypted, in base64. */
  readonly release: Omit<Release, 'configVars'> & { readonly sealed: string };
  readonly deployment: Deployment;
  /** The build that made the artifact. Null if the store has no record of this build. */
  readonly build: Build | null;
  /**
   * The deployment that made `build`, if this is another one than `deployment`. Null if `deployment` made `build`, or
   * if the store has no record of the deployment that made it.
   */
  readonly buildDeployment: Deployment | null;
}

/** `sum` is the SHA-256 of the copy without `sum`. Copies by earlier versions of this server have no `sum`. */
type WrittenCopy = ReleaseCopy & { readonly sum?: string };

const NAME = /^v([1-9][0-9]*)\.json$/;

/**
 * Copies of the releases that went live, outside the store: `releases/TOOL/vN.json` in the data folder, mode 0600. A
 * copy is on the disk before the store records its release as live. So a store that is lost, or restored from an old
 * backup, can be repaired from the copies.
 */
export class ReleaseCopies {
  readonly #folder: string;
  readonly #data: string;

  constructor(data: string) {
    this.#folder = join(data, 'releases');
    this.#data = data;
  }

  has(tool: ToolName, version: number): boolean {
    return existsSync(this.path(tool, version));
  }

  path(tool: ToolName, version: number): string {
    return join(this.#folder, tool, `v${version}.json`);
  }

  /**
   * Writes a copy of a release. Resolves when the copy is on the disk. Meanwhile, the server does other work.
   *
   * @throws DeployError `STORE_FULL` if the disk cannot be written.
   */
  async write(copy: ReleaseCopy): Promise<void> {
    try {
      await this.#write(copy);
    } catch (error) {
      throw explain(error);
    }
  }

  async #write(copy: ReleaseCopy): Promise<void> {
    const path = this.path(copy.release.tool, copy.release.version);
    const isNewFolder = (await mkdir(dirname(path), { recursive: true, mode: 0o700 })) !== undefined;
    const draft = `${path}.new`;
    const text = `${JSON.stringify({ ...copy, sum: sumOf(copy) })}\n`;
    await writeFile(draft, text, { mode: 0o600, flush: true });
    await rename(draft, path);
    await syncFolder(dirname(path));
    if (isNewFolder) await syncFolder(this.#folder);
  }

  /**
   * Returns the copy of a release. Null if the copy is missing or damaged. The path of an artifact leads into this data
   * folder, also if the folder was moved after the copy was written.
   */
  read(tool: ToolName, version: number): ReleaseCopy | null {
    try {
      const written: WrittenCopy = JSON.parse(readFileSync(this.path(tool, version), 'utf8'));
      const { sum, ...copy } = written;
      const { release, deployment } = copy;
      const isOf = release.tool === tool && release.version === version;
      const isWhole =
        typeof release.artifact.reference === 'string' &&
        typeof release.sealed === 'string' &&
        deployment.id === release.deploymentId &&
        (sum === undefined || sum === sumOf(copy));
      return isOf && isWhole ? this.#moved(copy) : null;
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(systemCode(error) ?? '')) return null;
      if (error instanceof SyntaxError || error instanceof TypeError) return null;
      throw error;
    }
  }

  #moved(copy: ReleaseCopy): ReleaseCopy {
    const { release, build } = copy;
    const moved = (artifact: Artifact): Artifact =>
      artifact.kind === 'slug' && artifact.reference !== ''
        ? { ...artifact, reference: join(this.#data, 'artifacts', release.tool, artifact.id) }
        : artifact;
    return {
      ...copy,
      release: { ...release, artifact: moved(release.artifact) },
      build:
        build === null || build.artifact === null ? build : { ...build, artifact: moved(build.artifact) },
    };
  }

  /** Returns the copy of the tool's newest release that has a complete copy. Null if no copy is complete. */
  newest(tool: ToolName): ReleaseCopy | null {
    for (const version of this.versions(tool).sort((a, b) => b - a)) {
      const copy = this.read(tool, version);
      if (copy !== null) return copy;
    }
    return null;
  }

  remove(tool: ToolName, version: number): void {
    rmSync(this.path(tool, version), { force: true });
  }

  /** The versions that have a copy, intact or torn, in no order. */
  versions(tool: ToolName): number[] {
    return namesIn(join(this.#folder, tool)).flatMap((name) => {
      const version = NAME.exec(name)?.[1];
      return version === undefined ? [] : [Number(version)];
    });
  }

  tools(): ToolName[] {
    return namesIn(this.#folder).flatMap((name) => toolName(name) ?? []);
  }
}

function sumOf(copy: ReleaseCopy): string {
  return createHash('sha256').update(JSON.stringify(copy)).digest('hex');
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
