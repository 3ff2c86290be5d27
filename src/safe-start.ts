import type { Config } from './config.ts';
import { DeployError } from './core/errors.ts';
import { isLoopback } from './core/loopback.ts';

/**
 * Without isolation every tool can do what the server's user can: that is for one person on their own machine.
 *
 * @param remedy - The command that would bring isolation.
 * @throws DeployError `NEEDS_ISOLATION` for a second user or an address that others reach.
 */
export function assertTrustedUse(
  config: Pick<Config, 'ssh' | 'http'>,
  users: number | 'many',
  remedy: string,
): void {
  const outside = [config.ssh, config.http].find(({ host }) => !isLoopback(host));
  const why =
    users === 'many' || users > 1
      ? `There are ${users} users, and tools are not isolated here.`
      : outside !== undefined
        ? `${outside.host} can be reached from other machines, and tools are not isolated here.`
        : null;
  if (why === null) return;
  throw new DeployError(
    'NEEDS_ISOLATION',
    why,
    `Run \`${remedy}\` as root, or keep to one user and 127.0.0.1.`,
  );
}
