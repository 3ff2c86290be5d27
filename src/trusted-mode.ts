import type { Config } from './config.ts';
import { DeployError } from './core/errors.ts';
import { isLoopback } from './core/network/loopback.ts';

/**
 * Refuses a start without isolation, unless the server is for one person on their own machine: without isolation, every
 * tool has all rights of the server's user.
 *
 * @param remedy - The command that makes isolation possible.
 * @throws DeployError `NEEDS_ISOLATION` if there is a second user, or an address that other machines can reach.
 */
export function assertTrustedUse(
  config: Pick<Config, 'ssh' | 'http'>,
  users: number | 'many',
  remedy: string,
): void {
  const outside = [config.ssh, config.http].find(({ host }) => !isLoopback(host));
  const why =
    users === 'many' || users > 1
      ? `there are ${users} users, and tools are not isolated here`
      : outside !== undefined
        ? `${outside.host} can be reached from other machines, and tools are not isolated here`
        : null;
  if (why === null) return;
  throw new DeployError(
    'NEEDS_ISOLATION',
    why,
    `Run \`${remedy}\` as root. Otherwise only one user can log in, and the server can only listen on 127.0.0.1.`,
  );
}
