import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';

/**
 * For each protocol: the file with the three limits on the memory of its sockets, the index of the limit that this
 * server uses, and the usual value of this limit as a part of the memory of the machine.
 */
const LIMITS = {
  // The kernel calls this limit `pressure`. Above it, the kernel restricts every connection.
  TCP: { file: 'tcp_mem', index: 1, part: 1 / 16 },
  // The kernel calls this limit `min`. Above it, a socket gets no more than 4 KiB.
  UDP: { file: 'udp_mem', index: 0, part: 3 / 32 },
} as const;

export type Protocol = keyof typeof LIMITS;

/**
 * True if all sockets of the protocol on this machine together hold more than half of the memory at which the kernel
 * begins to restrict every such socket. Linux has one limit for all sockets, so a few clients could slow down
 * everybody.
 *
 * @see https://docs.kernel.org/networking/ip-sysctl.html `tcp_mem` and `udp_mem`
 */
export function isMemoryScarce(protocol: Protocol): boolean {
  const line = new RegExp(`^${protocol}:.* mem (\\d+)`, 'm');
  const pages = line.exec(read('/proc/net/sockstat') ?? '')?.[1];
  return Number(pages ?? 0) > restrictingPages(protocol) / 2;
}

/** The pages of memory at which the kernel begins to restrict sockets of the protocol. */
export function restrictingPages(protocol: Protocol): number {
  const { file, index, part } = LIMITS[protocol];
  // In a container, this file may be missing. Then take the usual value.
  const pages = read(`/proc/sys/net/ipv4/${file}`)?.trim().split(/\s+/)[index];
  // Assume pages of 4 KiB, the smallest size.
  return Number(pages ?? (totalmem() * part) / 4096);
}

/** How many TCP sockets are open in the network namespace of this process. */
export function openTcpSockets(): number {
  const lines = `${read('/proc/net/sockstat')}${read('/proc/net/sockstat6')}`;
  const found = lines.matchAll(/^TCP6?: inuse (\d+)/gm);
  return Array.from(found, ([, count]) => Number(count)).reduce((sum, count) => sum + count, 0);
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
