import { closeSync, fsyncSync, openSync } from 'node:fs';

/** Makes the names in a folder durable: syncing a file does not sync its name (fsync(2)). */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
