import { closeSync, fsyncSync, openSync } from 'node:fs';

/** A name in a folder is durable once the folder is (fsync(2)). */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
