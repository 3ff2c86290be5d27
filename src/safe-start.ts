import { isIP } from 'node:net';
import type { Config } from './config.ts';
import { DeployError } from './core/errors.ts';

/** True for an address that only this machine reaches: 127.0.0.0/8, ::1 and localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/**
 * Without isolation every tool can do what the server's user can: that is for one person on their own machine.
 *
 * @throws DeployError `NEEDS_ISOLATION` for a second user or an address that others reach.
 */
export function assertTrustedUse(config: Pick<Config, 'ssh' | 'http'>, users: number): void {
  const outside = [config.ssh, config.http].find(({ host }) => !isLoopback(host));
  const why =
    users > 1
      ? `There are ${users} users, and tools are not isolated here.`
      : outside !== undefined
        ? `${outside.host} can be reached from other machines, and tools are not isolated here.`
        : null;
  if (why === null) return;
  throw new DeployError(
    'NEEDS_ISOLATION',
    why,
    'Run `apt-get install bubblewrap passt util-linux` as root, or keep to one user and 127.0.0.1.',
  );
}
