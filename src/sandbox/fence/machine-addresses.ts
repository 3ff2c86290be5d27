import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { execa } from 'execa';
import { withPipes } from '../../core/child-pipes.ts';

const PATH = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
const SETTLING_MS = 1000;

/**
 * Lists every address at which this machine itself answers, from the kernel's local tables. The list includes
 * secondary, broadcast and anycast addresses, and addresses of interfaces that are down.
 *
 * @returns addresses and networks, sorted: `192.0.2.2`, `10.1.0.0/16`, `2001:db8::2`
 */
export async function machineAddresses(): Promise<string[]> {
  // If this file is missing, the kernel has no IPv6, and `ip -6` would fail.
  const families = existsSync('/proc/net/if_inet6') ? ['-4', '-6'] : ['-4'];
  const tables = await Promise.all(families.map(localTable));
  return [...new Set(tables.flat())].sort();
}

async function localTable(family: string): Promise<string[]> {
  const argv = [family, 'route', 'show', 'table', 'local'];
  const { stdout, stderr, exitCode } = await execa('ip', argv, {
    env: PATH,
    extendEnv: false,
    stdin: 'ignore',
    reject: false,
  });
  // If the machine has no address at all, it has no local table, and this is no error.
  if (exitCode !== 0 && !/table does not exist/i.test(stderr)) {
    throw new Error(`the addresses of this machine are unknown: ${stderr.split('\n')[0]}`);
  }
  return Array.from(stdout.matchAll(/^(?:local|broadcast|anycast) (\S+)/gm), ([, address = '']) => address);
}

/**
 * Calls `changed` whenever an address of this machine may have changed, as long as this process runs. Calls `changed`
 * again a second later, because the kernel reports an IPv6 address before the machine answers there.
 */
export function watchAddresses(changed: () => void): void {
  // setpriv makes the kernel end this child if the server is killed.
  const argv = ['--pdeathsig', 'KILL', '--', 'ip', 'monitor', 'address'];
  const monitor = withPipes(spawn('setpriv', argv, { env: PATH, stdio: ['ignore', 'pipe', 'ignore'] }));
  let settled: NodeJS.Timeout | undefined;
  const later = () => {
    clearTimeout(settled);
    settled = setTimeout(changed, SETTLING_MS).unref();
  };
  monitor.stdout.on('data', () => {
    changed();
    later();
  });
  monitor.on('error', () => undefined);
  monitor.once('close', () => watchAgain(changed));
  // The child must not keep this process running.
  monitor.unref();
  (monitor.stdout as Socket).unref();
}

function watchAgain(changed: () => void): void {
  setTimeout(() => {
    try {
      watchAddresses(changed);
    } catch {
      // Ignore the error and try again later, because this server has no free file descriptor now.
      watchAgain(changed);
      return;
    }
    // Report a change, because addresses may have changed while no `ip monitor` ran.
    changed();
  }, SETTLING_MS).unref();
}
