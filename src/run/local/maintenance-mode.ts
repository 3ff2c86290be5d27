import { join } from 'node:path';
import { DeployError } from '../../core/errors.ts';
import type { Release } from '../../core/types.ts';

/**
 * Reads a plain file below `root` that untrusted code may have made, without following links.
 *
 * @returns the text, or null if there is no such file. @throws RangeError if the file is larger than `maxBytes`.
 */
export type ReadPlainFile = (
  root: string,
  parts: readonly string[],
  maxBytes: number,
) => Promise<string | null>;

const PLACES = [['maintenance.html'], ['public', 'maintenance.html']];
const MAX_PAGE_BYTES = 256 * 1024;

/** The tools in maintenance, with the pages that their visitors get. */
export class Maintenance {
  readonly #read: ReadPlainFile;
  /** For each tool in maintenance: its own page, or null. */
  readonly #pages = new Map<string, string | null>();

  constructor(read: ReadPlainFile) {
    this.#read = read;
  }

  /**
   * Begins the maintenance mode of a tool.
   *
   * @param live - The live release, whose page is shown. Null if nothing runs.
   * @returns true if the release has a page.
   * @throws DeployError `PAGE_TOO_LARGE`
   */
  async begin(tool: string, live: Release | null): Promise<boolean> {
    const page = live === null ? null : await this.#pageOf(live);
    this.#pages.set(tool, page);
    return page !== null;
  }

  end(tool: string): void {
    this.#pages.delete(tool);
  }

  /** Shows the page of a release that has gone live, if its tool is in maintenance. A page that is too large is left out. */
  async follow(live: Release): Promise<void> {
    if (!this.#pages.has(live.tool)) return;
    const page = await this.#pageOf(live).catch(() => null);
    if (this.#pages.has(live.tool)) this.#pages.set(live.tool, page);
  }

  /** The page of a tool in maintenance: null if it has none of its own. Undefined if the tool is not in maintenance. */
  page(tool: string): string | null | undefined {
    return this.#pages.get(tool);
  }

  async #pageOf({ tool, version, artifact }: Release): Promise<string | null> {
    const root = join(artifact.reference, 'workspace');
    for (const parts of PLACES) {
      try {
        const page = await this.#read(root, parts, MAX_PAGE_BYTES);
        if (page !== null) return page;
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw new DeployError(
          'PAGE_TOO_LARGE',
          `the page ${parts.join('/')} in v${version} of ${tool} is larger than ${MAX_PAGE_BYTES / 1024} KiB`,
          'Make the page smaller or delete it, and push.',
          { cause },
        );
      }
    }
    return null;
  }
}
