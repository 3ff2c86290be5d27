import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';

/**
 * True if all connections of the machine together hold more than half of the memory at which the kernel begins to
 * restrict every connection. Linux has one limit for all connections, so a few clients could slow down everybody.
 *
 * @see https://docs.kernel.org/networking/ip-sysctl.html `tcp_mem`
 */
export function isTcpMemoryScarce(): boolean {
  const pages = /^TCP:.* mem (\d+)/m.exec(read('/proc/net/sockstat') ?? '')?.[1];
  return Number(pages ?? 0) > pressurePages() / 2;
}

/** The pages of memory at which the kernel begins to restrict connections. */
export function pressurePages(): number {
  // A container cannot read this file.
  const pages = read('/proc/sys/net/ipv4/tcp_mem')?.trim().split(/\s+/)[1];
  // By default, the kernel sets this number to a sixteenth of the memory. A page has at least 4 KiB.
  return Number(pages ?? totalmem() / 16 / 4096);
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
