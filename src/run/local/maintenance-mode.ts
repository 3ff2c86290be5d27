import { join } from 'node:path';
import type { Release } from '../../core/types.ts';
import { MAX_PAGE_BYTES, PAGE_PLACES, pageTooLarge } from '../words/maintenance-words.ts';

/**
 * Reads a plain file below `root` that untrusted code may have made, without following links.
 *
 * @param parts - The parts of the path from `root` to the file, such as `['public', 'maintenance.html']`.
 * @returns the text, or null if there is no such file.
 * @throws RangeError if the file is larger than `maxBytes`.
 */
export type ReadPlainFile = (
  root: string,
  parts: readonly string[],
  maxBytes: number,
) => Promise<string | null>;

/** The tools in maintenance, with the pages that their visitors get. */
export class Maintenance {
  readonly #read: ReadPlainFile;
  /** For each tool in maintenance: its own page, or null for the plain page. */
  readonly #pages = new Map<string, string | null>();

  constructor(read: ReadPlainFile) {
    this.#read = read;
  }

  /**
   * Begins the maintenance mode of a tool.
   *
   * @param live - The live release, whose page is shown.
   * @returns true if the release has a page.
   * @throws DeployError `PAGE_TOO_LARGE` if the page is larger than `MAX_PAGE_BYTES`.
   */
  async begin(live: Release): Promise<boolean> {
    const page = await this.#pageOf(live);
    this.#pages.set(live.tool, page);
    return page !== null;
  }

  /** Begins the maintenance mode of a tool with the plain page. */
  keep(tool: string): void {
    this.#pages.set(tool, null);
  }

  end(tool: string): void {
    this.#pages.delete(tool);
  }

  /**
   * Shows the page of a release that has gone live, if its tool is in maintenance. If that page cannot be read or is
   * larger than `MAX_PAGE_BYTES`, shows the plain page.
   */
  async follow(live: Release): Promise<void> {
    if (!this.#pages.has(live.tool)) return;
    const page = await this.#pageOf(live).catch(() => null);
    if (this.#pages.has(live.tool)) this.#pages.set(live.tool, page);
  }

  /** The tool's own page. Null for the plain page. Undefined if the tool is not in maintenance. */
  page(tool: string): string | null | undefined {
    return this.#pages.get(tool);
  }

  async #pageOf(release: Release): Promise<string | null> {
    const root = join(release.artifact.reference, 'workspace');
    for (const place of PAGE_PLACES) {
      try {
        const page = await this.#read(root, place.split('/'), MAX_PAGE_BYTES);
        if (page !== null) return page;
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw pageTooLarge(release, place, cause);
      }
    }
    return null;
  }
}
