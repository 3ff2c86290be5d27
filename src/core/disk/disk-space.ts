import { statfs } from 'node:fs/promises';
import { DeployError } from '../errors.ts';
import { mebibytes } from '../text/mebibytes.ts';

/**
 * The server reserves this part of a disk for itself, but at most `MAX_RESERVE_BYTES` bytes and `MAX_RESERVE_ENTRIES`
 * files.
 */
const RESERVE_PART = 0.05;
const MAX_RESERVE_BYTES = 512 * 1024 * 1024;
const MAX_RESERVE_ENTRIES = 20_000;

/** The space of a disk: its size, and what is free. */
export interface DiskSpace {
  readonly freeBytes: number;
  /** The size of the file system in bytes. */
  readonly bytes: number;
  /** Files and folders that can still be made (inodes); infinite if the file system does not count them. */
  readonly freeEntries: number;
  /** Files and folders that the file system can hold at all; infinite if it does not count them. */
  readonly entries: number;
  /**
   * What the disk has too little of: free bytes, or room for more files. Null if the disk has enough bytes, and enough
   * room for files.
   */
  readonly low: 'bytes' | 'entries' | null;
}

/**
 * The space on the disk of a folder. The server keeps a reserve for itself. If less is left, no new work that fills the
 * disk may begin, so that the server can still record, answer and clean up.
 */
export class DiskRoom {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async space(): Promise<DiskSpace> {
    const { bsize, blocks, bavail, files, ffree } = await statfs(this.#folder);
    const [bytes, freeBytes] = [blocks * bsize, bavail * bsize];
    // Some file systems, such as Btrfs, do not count files. Then take the numbers as infinite.
    const [entries, freeEntries] = files === 0 ? [Infinity, Infinity] : [files, ffree];
    const isFull = freeBytes < Math.min(MAX_RESERVE_BYTES, bytes * RESERVE_PART);
    const isCrowded = freeEntries < Math.min(MAX_RESERVE_ENTRIES, entries * RESERVE_PART);
    return { freeBytes, bytes, freeEntries, entries, low: isFull ? 'bytes' : isCrowded ? 'entries' : null };
  }

  /** Returns an error message that says that the disk is nearly full, or null if there is enough space. */
  async complaint(): Promise<string | null> {
    const { low, freeBytes, freeEntries } = await this.space();
    if (low === null) return null;
    const spaceLeft = low === 'bytes' ? mebibytes(freeBytes) : `room for ${freeEntries} files`;
    return `the disk of this server is nearly full (${spaceLeft} left)`;
  }

  /**
   * Checks that the disk still has the free space that the server reserves for itself. @throws DeployError
   * `DISK_NEARLY_FULL` if it has less.
   */
  async assertRoom(): Promise<void> {
    const complaint = await this.complaint();
    if (complaint !== null) throw diskNearlyFull(complaint);
  }
}

function diskNearlyFull(complaint: string): DeployError {
  return new DeployError(
    'DISK_NEARLY_FULL',
    complaint,
    'This is not your tool’s fault: tell the operators, and try again later.',
  );
}
