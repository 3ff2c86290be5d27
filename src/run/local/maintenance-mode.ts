import { join } from 'node:path';
import type { Release } from '../../core/types.ts';
import { outputOfShell } from '../../sandbox/process/shell.ts';
import { MAX_PAGE_BYTES, PAGE_PLACES, pageTooLarge } from '../words/maintenance-words.ts';

// The arguments are a folder, a number of bytes, and paths below the folder. Prints the first of these paths that is a
// file, and then at most this many bytes of the file. Prints an empty line if no path is a file. Follows no link.
const SCRIPT = `root=$1 most=$2; shift 2
for place; do
  at=$root
  for part in $(echo "$place" | tr / ' '); do at=$at/$part; [ -L "$at" ] && continue 2; done
  [ -f "$at" ] || continue
  echo "$place"; head -c "$most" -- "$at"; echo; exit
done
echo`;

/** The tools in maintenance, with the pages that their visitors get. */
export class Maintenance {
  /**
   * For each tool in maintenance, the page that its visitors get: the tool's own page, or null for the server's plain
   * page.
   */
  readonly #pages = new Map<string, string | null>();

  /**
   * Begins the maintenance mode of a tool.
   *
   * @param live - The live release of the tool. If it has a page about maintenance, visitors get this page.
   * @returns true if the release has such a page.
   * @throws DeployError `PAGE_TOO_LARGE` if the page is larger than `MAX_PAGE_BYTES`.
   */
  async begin(live: Release): Promise<boolean> {
    const page = await this.#pageOf(live);
    this.#pages.set(live.tool, page);
    return page !== null;
  }

  /** Begins the maintenance mode of a tool. Visitors get the server's plain page about maintenance. */
  keep(tool: string): void {
    this.#pages.set(tool, null);
  }

  end(tool: string): void {
    this.#pages.delete(tool);
  }

  /**
   * Call this when a release has gone live. If its tool is in maintenance, visitors now get the page about maintenance
   * of this release. They get the server's plain page if the release has no such page, or if the page cannot be read or
   * is larger than `MAX_PAGE_BYTES`.
   */
  async follow(live: Release): Promise<void> {
    if (!this.#pages.has(live.tool)) return;
    const page = await this.#pageOf(live).catch(() => null);
    if (this.#pages.has(live.tool)) this.#pages.set(live.tool, page);
  }

  /**
   * The tool's own page about maintenance. Null for the server's plain page. Undefined if the tool is not in
   * maintenance.
   */
  page(tool: string): string | null | undefined {
    return this.#pages.get(tool);
  }

  /**
   * Reads the release's own page about maintenance. Null if the release has none. A program reads the file, because
   * processes of the release can hold the locks of its folders for minutes. If the server itself waited for such locks,
   * it could soon do no work with other files.
   */
  async #pageOf(release: Release): Promise<string | null> {
    const root = join(release.artifact.reference, 'workspace');
    const output = await outputOfShell(SCRIPT, [root, String(MAX_PAGE_BYTES + 1), ...PAGE_PLACES]);
    if (output === null) throw new Error(`a page in ${root} cannot be read now`);
    const place = output.split('\n', 1)[0] ?? '';
    if (place === '') return null;
    const page = output.slice(place.length + 1);
    if (Buffer.byteLength(page) > MAX_PAGE_BYTES) throw pageTooLarge(release, place);
    return page;
  }
}
