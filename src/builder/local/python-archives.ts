import { chmod, copyFile, readFile, rename, stat, utimes } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { noneIfGone } from '../../core/errors.ts';
import { firstClosed } from '../../sandbox/folder-reach.ts';
import type { Mount } from '../../sandbox/sandbox.ts';
import { makeFolder } from '../folders.ts';

/**
 * The folders of this machine from which uv may copy Pythons. The operator names them in two variables, by paths or
 * `file:` URLs. UV_PYTHON_DOWNLOADS_JSON_URL names a list of archives, which lie in the folder of the list.
 * UV_PYTHON_INSTALL_MIRROR names a folder, the mirror. The result has neither folders that do not exist nor the root
 * folder.
 *
 * If tools have system users of their own, these users may be unable to reach the folder of the list, such as one in
 * /root. Builds then get a copy of the list and of its archives, in the folder `pythons` of the data folder. A mirror
 * that these users cannot reach is left out of the result.
 *
 * @param operator - The operator's variables for builds.
 * @param place - `hasUsers`: whether builds run as other users than the server.
 */
export async function pythonArchives(
  operator: Readonly<Record<string, string>>,
  place: { readonly data: string; readonly hasUsers: boolean },
): Promise<Mount[]> {
  const list = localPath(operator['UV_PYTHON_DOWNLOADS_JSON_URL']);
  const mirror = localPath(operator['UV_PYTHON_INSTALL_MIRROR']);
  const mounts: Mount[] = [];
  for (const folder of new Set([list === null ? null : dirname(list), mirror])) {
    if (folder === null || folder === '/' || (await stat(folder).catch(noneIfGone)) === null) continue;
    const isReached = !place.hasUsers || (await firstClosed(folder)) === null;
    if (isReached) mounts.push({ source: folder, target: folder, isWritable: false });
    else if (list !== null && folder === dirname(list))
      mounts.push({ source: await copyOf(list, place.data), target: folder, isWritable: false });
  }
  return mounts;
}

function localPath(url: string | undefined): string | null {
  if (url !== undefined && isAbsolute(url)) return url;
  return url?.startsWith('file:///') && URL.canParse(url) ? fileURLToPath(url) : null;
}

/**
 * Copies the operator's list of archives of Python into the data folder. Also copies each archive that the list names,
 * if the archive is in the folder of the list. Does not copy a file again if its size and time have not changed.
 * Returns the folder with the copies.
 */
async function copyOf(list: string, data: string): Promise<string> {
  const folder = join(data, 'pythons');
  await makeFolder(folder, 0o755);
  const text = await readFile(list, 'utf8');
  const urls = text.match(/file:\/\/\/[^"\s]+/g) ?? [];
  const archives = urls.map((url) => fileURLToPath(url)).filter((path) => dirname(path) === dirname(list));
  for (const file of new Set([...archives, list])) {
    const copy = join(folder, basename(file));
    const [original, present] = await Promise.all([
      stat(file).catch(noneIfGone),
      stat(copy).catch(noneIfGone),
    ]);
    if (original === null) continue;
    if (present?.size === original.size && present.mtime.getTime() === original.mtime.getTime()) continue;
    const half = `${copy}.${process.pid}-${performance.now()}`;
    await copyFile(file, half);
    await chmod(half, 0o644);
    await utimes(half, original.atime, original.mtime);
    await rename(half, copy);
  }
  return folder;
}
