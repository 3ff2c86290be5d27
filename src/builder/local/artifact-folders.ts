import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { namesIn } from '../../core/disk/names-in.ts';
import { removeTree } from '../../core/disk/remove-tree.ts';
import type { SetAside } from '../../core/disk/set-aside.ts';
import { systemCode } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { FateOf } from '../builder.ts';
import { copyFiles, makeFolder, syncDisk } from '../folders.ts';

/** The server writes this file into an artifact's folder last, and deletes it first. It marks a whole artifact. */
const MARK = 'complete';
const ID = /^[A-Za-z0-9][-A-Za-z0-9]{0,99}$/;

/**
 * The folders of artifacts, `artifacts/TOOL/ID`, and of build caches, `cache/TOOL`, in the data folder. Every user of
 * this machine can pass through the folders above an artifact, but only the server can list them. Only the server can
 * enter `cache`. If each tool has a uid of its own, an artifact belongs to the uid of its tool.
 */
export class Artifacts {
  readonly #data: string;

  constructor(data: string) {
    this.#data = data;
  }

  /** Returns the path of an artifact's folder. @throws Error if the id is not a plain name of a folder. */
  folder(tool: ToolName, id: string): string {
    if (!ID.test(id)) throw new Error('an artifact id must be a plain name');
    return join(this.#toolFolder(tool), id);
  }

  cache(tool: ToolName): string {
    return join(this.#data, 'cache', tool);
  }

  /** Makes the folders that will hold the artifacts and the cache of this tool. */
  async prepare(tool: ToolName): Promise<void> {
    await makeFolder(this.#data, 0o711);
    await makeFolder(join(this.#data, 'artifacts'), 0o711);
    await makeFolder(this.#toolFolder(tool), 0o711);
    await makeFolder(join(this.#data, 'cache'), 0o700);
  }

  /** The folder of the tool's artifact that was finished last, or null if the tool has none. */
  async newest(tool: ToolName): Promise<string | null> {
    const finished = await this.#finished(tool);
    return finished.at(-1)?.folder ?? null;
  }

  /**
   * Marks an artifact as finished and as the newest. First writes its files to the disk: otherwise, the files of a live
   * release could be empty after a loss of power. But waits at most 10 s for the disk (`syncDisk`).
   *
   * @param check - Runs while the files are written. If it throws, the artifact does not become finished.
   * @returns what `check` returns.
   */
  async finish<Result>(tool: ToolName, id: string, check: () => Promise<Result>): Promise<Result> {
    const [result] = await Promise.all([check(), syncDisk(this.folder(tool, id))]);
    const last = (await this.#finished(tool)).at(-1)?.number ?? 0;
    await writeFile(join(this.folder(tool, id), MARK), `${last + 1}\n`, {
      mode: 0o600,
      flag: 'wx',
      flush: true,
    });
    return result;
  }

  /**
   * Copies a finished artifact into the folder `to`, without the file `MARK`, which says that an artifact is finished.
   * The files of the copy are no hard links to the original files, because they will belong to another user.
   *
   * @returns false if the artifact does not exist.
   */
  async copy(tool: ToolName, id: string, to: string, signal: AbortSignal): Promise<boolean> {
    const folder = this.folder(tool, id);
    if (!this.has(tool, id)) return false;
    const entries = (await namesIn(folder)).filter((name) => name !== MARK);
    const paths = entries.map((name) => join(folder, name));
    await copyFiles(paths, to, signal);
    // Look again: if the artifact has been deleted meanwhile, its file `MARK` is gone, and the copy may lack files.
    return this.has(tool, id);
  }

  async remove(tool: ToolName, id: string): Promise<void> {
    await removeArtifact(this.folder(tool, id));
  }

  /** Deletes all artifacts and the cache of a tool. */
  async removeAll(tool: ToolName): Promise<void> {
    await removeTree(this.#toolFolder(tool));
    await removeTree(this.cache(tool));
  }

  /**
   * Keeps or deletes each artifact of the tool, or moves it to the folder `set-aside`, as `fateOf` says.
   *
   * @returns the new paths of the artifacts that were moved.
   */
  async sort(tool: ToolName, fateOf: FateOf, setAside: SetAside): Promise<string[]> {
    const finished = new Set((await this.#finished(tool)).map((artifact) => artifact.id));
    const moved: string[] = [];
    for (const id of await namesIn(this.#toolFolder(tool))) {
      const folder = join(this.#toolFolder(tool), id);
      const fate = fateOf(id, finished.has(id));
      if (fate === 'remove') await removeArtifact(folder);
      if (fate === 'set-aside') moved.push((await setAside.move(folder)) ?? folder);
    }
    return moved;
  }

  /** Whether the artifact exists and is finished. */
  has(tool: ToolName, id: string): boolean {
    return existsSync(join(this.folder(tool, id), MARK));
  }

  #toolFolder(tool: ToolName): string {
    return join(this.#data, 'artifacts', tool);
  }

  async #finished(tool: ToolName): Promise<{ id: string; folder: string; number: number }[]> {
    const found = [];
    for (const id of await namesIn(this.#toolFolder(tool))) {
      const folder = join(this.#toolFolder(tool), id);
      const number = await numberOf(join(folder, MARK));
      if (number !== null) found.push({ id, folder, number });
    }
    return found.sort((a, b) => a.number - b.number);
  }
}

/**
 * Deletes an artifact, and its file `MARK` first: if the server is killed meanwhile, the rest of the artifact does not
 * count as finished.
 */
async function removeArtifact(folder: string): Promise<void> {
  await rm(join(folder, MARK), { force: true }).catch(() => undefined);
  await removeTree(folder);
}

async function numberOf(mark: string): Promise<number | null> {
  try {
    return Number.parseInt(await readFile(mark, 'utf8'), 10) || 0;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return null;
    throw error;
  }
}
