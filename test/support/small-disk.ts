import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A small file system for one test: ext4 in a file, mounted at `folder`. Only root can mount it. */
export class SmallDisk implements Disposable {
  readonly folder: string;
  readonly #parent: string;

  /** @param entries - The number of files and folders that it can hold. */
  constructor({ mebibytes, entries }: { readonly mebibytes: number; readonly entries: number }) {
    this.#parent = mkdtempSync(join(tmpdir(), 'small-disk-'));
    this.folder = join(this.#parent, 'disk');
    mkdirSync(this.folder);
    const image = join(this.#parent, 'image');
    try {
      quietly('truncate', '-s', `${mebibytes}M`, image);
      quietly('mkfs.ext4', '-q', '-m', '0', '-N', String(entries), image);
      quietly('mount', '-o', 'loop', image, this.folder);
      quietly('chmod', '0711', this.#parent, this.folder);
    } catch (error) {
      rmSync(this.#parent, { recursive: true, force: true });
      throw error;
    }
  }

  /** The reason why this machine cannot mount a small disk, or false if it can. */
  static get whyNot(): string | false {
    if (process.getuid?.() !== 0) return 'only root mounts a disk';
    try {
      new SmallDisk({ mebibytes: 8, entries: 100 })[Symbol.dispose]();
      return false;
    } catch {
      return 'no disk can be mounted from a file here';
    }
  }

  /** Simulates a power failure: everything that was not written to the disk is lost. */
  losePower(): void {
    // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
    const shutdown =
      'import fcntl, os, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, b"\\2\\0\\0\\0")';
    quietly('python3', '-c', shutdown, this.folder);
  }

  /**
   * Mounts the disk again after a power failure. Mounts a copy of the image: a sandbox that started meanwhile may keep
   * the failed file system mounted, and the kernel would then mount that one again.
   */
  startAgain(): void {
    quietly('umount', '-l', this.folder);
    const [image, copy] = [join(this.#parent, 'image'), join(this.#parent, 'image-again')];
    quietly('cp', '--sparse=always', image, copy);
    quietly('mv', copy, image);
    quietly('mount', '-o', 'loop', image, this.folder);
  }

  [Symbol.dispose](): void {
    quietly('umount', '-l', this.folder);
    rmSync(this.#parent, { recursive: true, force: true });
  }
}

function quietly(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: 'ignore' });
}
