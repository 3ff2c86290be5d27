import { mebibytes } from '../core/text/mebibytes.ts';
import { du } from '../sandbox/disk/disk-use.ts';

/**
 * Of the folders and files of a build for which `isPlace` is true, the three with the most bytes, or the three with the
 * most files, with the paths that the build's code sees: `/workspace/data (900 MiB), …`.
 */
export async function largestFolders(
  folder: string,
  signal: AbortSignal,
  by: 'bytes' | 'entries' = 'bytes',
): Promise<string> {
  const entries = await du(['-a', by === 'bytes' ? '-k' : '--inodes', '-x', '-d', '3', folder], signal);
  const places = entries
    .map(({ count, path }) => ({ count, path: path.slice(folder.length) }))
    .filter(({ path }) => isPlace(path))
    .sort((a, b) => b.count - a.count)
    .slice(0, 3);
  const named = places.map(({ count, path }) => {
    const shown = path
      .replace(/^\/scratch/, '')
      .replace(/^\/home$/, '/home/tool')
      .replace(/[^\x20-\x7e]/g, '?');
    return `${shown} (${by === 'bytes' ? mebibytes(count * 1024) : `${count} files`})`;
  });
  return named.join(', ');
}

/**
 * Whether an error may name this folder or file as one of the largest, to show people what to make smaller. True one
 * level below /workspace, two levels below /layers, for the build's folder for temporary files, and for its home
 * folder.
 */
function isPlace(path: string): boolean {
  return /^\/(workspace\/[^/]+|layers\/[^/]+\/[^/]+|scratch\/(tmp|home))$/.test(path);
}
