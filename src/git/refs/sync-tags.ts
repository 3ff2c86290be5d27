import { dirname, join } from 'node:path';
import { syncFolder } from '../../core/disk/sync-folder.ts';
import { systemCode } from '../../core/errors.ts';

/**
 * Writes to the disk that the tags among `refs` have been moved or deleted. git syncs the file of a ref, but not the
 * folders in which it then renames or deletes this file (core.fsync in git-config(1)). Other refs need no syncing,
 * because the store has what is needed to repair them.
 *
 * @param folder - The folder of the repository.
 * @throws an error with a code, such as EIO, if a folder cannot be synced.
 */
export async function syncTags(folder: string, refs: readonly string[]): Promise<void> {
  const tags = refs.filter((ref) => ref.startsWith('refs/tags/'));
  // The folder of the repository has the file packed-refs, from which git removes deleted tags.
  const folders = new Set(tags.length === 0 ? [] : [folder]);
  for (const tag of tags) {
    for (let place = dirname(tag); place !== 'refs'; place = dirname(place)) folders.add(join(folder, place));
  }
  for (const one of folders) {
    // git also deletes the empty folders of deleted tags.
    await syncFolder(one).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
    });
  }
}
