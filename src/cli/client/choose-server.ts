import { existsSync } from 'node:fs';
import { DeployError } from '../../core/errors.ts';
import { likelyServers, namedServer, type RemoteServer, USUAL_REMOTE, usualServer } from './git-remote.ts';
import type { OwnLine } from './own-options.ts';

/**
 * Chooses where a command runs:
 *
 * 1. With `--local`, in the server of this machine; with `--remote NAME`, in the server of this git remote.
 * 2. In the server of this machine, if TOOLFORGE_PUSH_DATA or TOOLFORGE_PUSH_CONFIG is set. Only operators set them.
 * 3. In the server of the git remote `toolforge`, if the current folder has this remote.
 * 4. Otherwise in the server of this machine.
 *
 * @returns null for the server of this machine.
 * @throws DeployError `NO_REMOTE` if there is no remote `NAME`; `BAD_REMOTE` if a remote is not the address of a tool.
 */
export async function chooseServer(
  { isLocal, remote }: Pick<OwnLine, 'isLocal' | 'remote'>,
  environment: NodeJS.ProcessEnv,
): Promise<RemoteServer | null> {
  if (remote !== null) return await namedServer(environment, remote);
  return isLocal || isOperators(environment) ? null : await usualServer(environment);
}

function isOperators(environment: NodeJS.ProcessEnv): boolean {
  return [environment['TOOLFORGE_PUSH_DATA'], environment['TOOLFORGE_PUSH_CONFIG']].some(Boolean);
}

/**
 * Refuses a command that works only on the machine of the server, if the person means another machine: with `--remote`;
 * or in a folder with the git remote `toolforge`, unless `--local`, TOOLFORGE_PUSH_DATA, TOOLFORGE_PUSH_CONFIG or a
 * data folder on this machine shows that they mean this machine.
 *
 * @throws DeployError `ONLY_LOCAL` if the person means another machine.
 */
export async function assertHere(
  command: string,
  { isLocal, remote }: OwnLine,
  { environment, data }: { readonly environment: NodeJS.ProcessEnv; readonly data: string },
): Promise<void> {
  if (isLocal) return;
  const isElsewhere =
    remote === null && !isOperators(environment) && !existsSync(data)
      ? (await likelyServers(environment)).some((server) => server.remote === USUAL_REMOTE)
      : false;
  if (remote === null && !isElsewhere) return;
  throw new DeployError(
    'ONLY_LOCAL',
    `the command ${command} works only on the machine of its server`,
    remote === null
      ? 'Log in to the machine of the server and type the command there. If the server is on this machine, add --local.'
      : 'Log in to the machine of the server and type the command there, without --remote.',
  );
}

/**
 * Adds to the error `NO_SERVER` a hint that names one git remote of the current folder, if the remote may lead to a
 * server. Returns every other error unchanged.
 */
export async function withRemotes(error: unknown, environment: NodeJS.ProcessEnv): Promise<unknown> {
  if (!(error instanceof DeployError) || error.code !== 'NO_SERVER') return error;
  const [server] = await likelyServers(environment);
  if (server === undefined) return error;
  const { remote, address } = server;
  return new DeployError(
    error.code,
    error.message,
    `${error.hint}\nTo ask the server of the git remote ${remote} (${address}), add --remote ${remote}.${remote === USUAL_REMOTE ? '' : ` To ask it by default in this folder: git remote rename ${remote} ${USUAL_REMOTE}`}`,
    { cause: error },
  );
}
