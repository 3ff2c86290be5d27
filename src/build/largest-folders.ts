import { mebibytes } from '../core/mebibytes.ts';
import { du } from '../sandbox/disk-use.ts';

/** The three largest places of a build, as its code calls them: `/workspace/data (900 MiB), …`. */
export async function largestFolders(folder: string, signal: AbortSignal): Promise<string> {
  const entries = await du(['-a', '-k', '-x', '-d', '3', folder], signal);
  const places = entries
    .map(({ bytes, path }) => ({ bytes, path: path.slice(folder.length) }))
    .filter(({ path }) => isPlace(path))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 3);
  const named = places.map(({ bytes, path }) => {
    const shown = path.replace(/^\/scratch/, '').replace(/[^\x20-\x7e]/g, '?');
    return `${shown} (${mebibytes(bytes)})`;
  });
  return named.join(', ');
}

/** One level below /workspace and the temporary folders, two below /layers: where a person can do something. */
function isPlace(path: string): boolean {
  return /^\/(workspace\/[^/]+|layers\/[^/]+\/[^/]+|scratch\/(tmp|home))$/.test(path);
}
