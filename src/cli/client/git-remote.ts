import { DeployError } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';

/** The git remote that `toolforge-push` uses if the command line names no other. */
export const USUAL_REMOTE = 'toolforge';

interface Named {
  /** The name of the git remote. */
  readonly remote: string;
  /** The address of the remote for people, without a password. */
  readonly address: string;
  /** The tool whose repository the remote names. */
  readonly tool: ToolName;
}

export interface SshServer extends Named {
  readonly door: 'ssh';
  /** The user name in the address. Null if the address has none: ssh then chooses the user. */
  readonly user: string | null;
  readonly host: string;
  /** The port in the address. Null if the address has none: ssh then chooses the port. */
  readonly port: string | null;
}

export interface HttpServer extends Named {
  readonly door: 'http';
  /** The address to which commands are sent, without user and password. */
  readonly url: URL;
  readonly user: string | null;
  readonly password: string | null;
}

/** Another toolforge-push server, as a git remote of the current folder names it. */
export type RemoteServer = SshServer | HttpServer;

/** A host or user must not begin with a dash, because ssh would take it for an option: CVE-2017-1000117. */
const HOST = /^\w[\w.-]*$/;
const IPV6 = /^[0-9a-f:.]+$/i;
const USER = /^\w[\w.+-]*$/;

/**
 * Reads the address of a remote: `ssh://USER@HOST:PORT/TOOL.git`, `USER@HOST:TOOL.git`, or
 * `https://USER@HOST/TOOL.git`.
 *
 * @returns null if this cannot be the address of a tool, for example because its last part is no name of a tool, or if
 * its host or user is not safe to pass to ssh.
 */
export function serverAt(remote: string, address: string): RemoteServer | null {
  if (/[\p{Cc}\s]/u.test(address)) return null;
  const [, user, host = '', path = ''] =
    /^(?:([^@/:]+)@)?(\[[^\]]+\]|[^:/[\]]+):(?!\/\/)(.+)$/.exec(address) ?? [];
  if (host !== '')
    return sshServer(remote, { user: user ?? '', host, port: '', path: `/${path.replace(/^\//, '')}` });
  const url = URL.parse(address);
  if (url === null) return null;
  const [name, password] = [decoded(url.username), decoded(url.password)];
  if (name === null || password === null) return null;
  if (/^(ssh|git\+ssh|ssh\+git):$/.test(url.protocol))
    return sshServer(remote, { user: name, host: url.hostname, port: url.port, path: url.pathname });
  if (!/^https?:$/.test(url.protocol)) return null;
  const [, folder = '', last = ''] = /^(.*)\/([^/]+)$/.exec(url.pathname.replace(/\/$/, '')) ?? [];
  const tool = toolName(last.replace(/\.git$/, ''));
  if (tool === null) return null;
  return {
    ...{ door: 'http', remote, tool, url: new URL(`${folder}/-/command`, url.origin) },
    address: `${url.protocol}//${url.username === '' ? '' : `${url.username}@`}${url.host}${url.pathname}`,
    user: name === '' ? null : name,
    password: password === '' ? null : password,
  };
}

function sshServer(
  remote: string,
  place: { readonly user: string; readonly host: string; readonly port: string; readonly path: string },
): SshServer | null {
  const { user, port } = place;
  const host = place.host.replace(/^\[(.*)\]$/, '$1');
  const tool = toolName(/^\/(?:~?\/)?([^/]+?)(?:\.git)?\/?$/.exec(place.path)?.[1] ?? '');
  const isSafe = (HOST.test(host) || IPV6.test(host)) && (user === '' || USER.test(user));
  if (tool === null || !isSafe) return null;
  return {
    ...{ door: 'ssh', remote, tool, host },
    address: `ssh://${user === '' ? '' : `${user}@`}${place.host}${port === '' ? '' : `:${port}`}/${tool}.git`,
    user: user === '' ? null : user,
    port: port === '' ? null : port,
  };
}

/**
 * Decodes percent-encoding. Null if the encoding is wrong, or if the result has control characters: these could end a
 * line of `git credential`.
 */
function decoded(text: string): string | null {
  try {
    const plain = decodeURIComponent(text);
    return /\p{Cc}/u.test(plain) ? null : plain;
  } catch {
    return null;
  }
}

/** The address to which `git push REMOTE` pushes. Null if the current folder has no such remote, or git is missing. */
async function addressOf(environment: NodeJS.ProcessEnv, remote: string): Promise<string | null> {
  return await git(environment, ['remote', 'get-url', '--push', '--', remote]);
}

/**
 * The server of the git remote `toolforge`.
 *
 * @returns null if the current folder has no such remote.
 * @throws DeployError `BAD_REMOTE` if the remote is not the address of a tool.
 */
export async function usualServer(environment: NodeJS.ProcessEnv): Promise<RemoteServer | null> {
  const address = await addressOf(environment, USUAL_REMOTE);
  return address === null ? null : (serverAt(USUAL_REMOTE, address) ?? refuse(USUAL_REMOTE, address));
}

/**
 * The server of the git remote with this name.
 *
 * @throws DeployError `NO_REMOTE` if there is no such remote; `BAD_REMOTE` if it is not the address of a tool.
 */
export async function namedServer(environment: NodeJS.ProcessEnv, remote: string): Promise<RemoteServer> {
  const address = await addressOf(environment, remote);
  if (address !== null) return serverAt(remote, address) ?? refuse(remote, address);
  const names = (await git(environment, ['remote']))?.split('\n').filter((name) => name !== '') ?? [];
  throw new DeployError(
    'NO_REMOTE',
    `this folder has no git remote “${oneLine(remote).slice(0, 80)}”`,
    names.length === 0
      ? 'Go to the repository of a tool. To add a remote there: git remote add toolforge ssh://USER@HOST:PORT/TOOL.git'
      : `It has: ${oneLine(names.join(', ')).slice(0, 200)}.`,
  );
}

/** The servers of all remotes of the current folder whose addresses have the form of a tool's address. */
export async function likelyServers(environment: NodeJS.ProcessEnv): Promise<RemoteServer[]> {
  const names = (await git(environment, ['remote']))?.split('\n').filter((name) => name !== '') ?? [];
  const addresses = await Promise.all(names.map((name) => addressOf(environment, name)));
  return names.flatMap((name, index) => serverAt(name, addresses[index] ?? '') ?? []);
}

function refuse(remote: string, address: string): never {
  const shown = oneLine(address.replace(/\/\/[^/@]*@/, '//')).slice(0, 200);
  throw new DeployError(
    'BAD_REMOTE',
    `the git remote ${oneLine(remote).slice(0, 80)} (${shown}) is not the address of a tool on a toolforge-push server`,
    'Such an address is ssh://USER@HOST:PORT/TOOL.git or https://USER@HOST/TOOL.git. --remote NAME uses another remote, and --local the server of this machine.',
  );
}

/** Runs git in the current folder. @returns what git prints, or null if git fails or is not installed. */
export async function git(
  environment: NodeJS.ProcessEnv,
  args: readonly string[],
  input = '',
): Promise<string | null> {
  // Let `git credential` write to the terminal, because it may report why a helper failed.
  const stderr = args[0] === 'credential' ? 'inherit' : 'ignore';
  // Loaded late, because most commands on the machine of a server run no git, and execa takes long to load.
  const { execa } = await import('execa');
  const { stdout, failed } = await execa('git', args, {
    ...{ env: environment, extendEnv: false, reject: false, input, stderr },
  });
  return failed ? null : stdout;
}
