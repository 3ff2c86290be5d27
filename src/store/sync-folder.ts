import { closeSync, fsyncSync, openSync } from 'node:fs';

/** Writes the names of the files in a folder to the disk, because syncing a file does not sync its name: fsync(2). */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
