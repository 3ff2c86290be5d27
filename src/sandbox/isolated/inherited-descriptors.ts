import { closeSync, readdirSync, readFileSync } from 'node:fs';

// The flag's value in fcntl(2) on the processors that sandboxes run on.
const O_CLOEXEC = 0o2000000;

/**
 * Closes all descriptors that this process inherited, except the standard streams. Node closes only the first few in
 * its children, and pasta and bwrap pass the rest on. An open folder among them would let every tool out of its
 * sandbox.
 */
export function closeInherited(): void {
  for (const fd of readdirSync('/proc/self/fd').map(Number)) {
    try {
      const [, flags = ''] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
      if (fd > 2 && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(fd);
    } catch {
      // This descriptor belonged to `readdirSync` itself and is closed already.
    }
  }
}
