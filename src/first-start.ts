import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createFirstDirectory } from './auth/file/first-directory.ts';
import { generatePassword } from './auth/file/password-hash.ts';
import { userName } from './auth/user-name.ts';
import { noneIfGone } from './core/errors.ts';
import { type Addresses, httpCommand, httpRemote, sshCommand, sshRemote } from './core/network/addresses.ts';

/** The user and the tool that the first start made. */
export interface FirstStart {
  readonly uid: string;
  readonly tool: string;
  /** The password of the user. It is shown once, and only its hash is stored. */
  readonly password: string;
  readonly keys: number;
  readonly leftOut: readonly string[];
}

/** The pod of a server that runs in a cluster. */
export interface ServerPod {
  readonly namespace: string;
  readonly name: string;
}

/** The facts that the server prints when it starts, in addition to its addresses. */
export interface StartFacts {
  /** The web address of the first tool. Null if the tool has no web address. */
  readonly web: string | null;
  readonly hostKey: string;
  /** The data folder, if it is not the default one. Otherwise null. */
  readonly data: string | null;
  /** The deploy branch, such as `main`. */
  readonly branch: string;
  /** The pod of the server. Null if the server does not run in a pod. */
  readonly pod: ServerPod | null;
}

const FIRST_TOOL = 'hello';
const MAX_KEY_BYTES = 64 * 1024;

/**
 * Makes the user directory at a first start. It has one tool and one user. The user is named after the account of the
 * operating system that starts the server, and has the public keys in `~/.ssh` of this account.
 *
 * @returns null if there is a user directory already.
 */
export async function firstStart(options: {
  readonly directoryPath: string;
  readonly userName: string;
  readonly homeFolder: string;
}): Promise<FirstStart | null> {
  if (await isThere(options.directoryPath)) return null;
  const password = generatePassword();
  const keyLines = await publicKeys(join(options.homeFolder, '.ssh'));
  const made = await createFirstDirectory({
    path: options.directoryPath,
    userName: firstName(options.userName),
    keyLines,
    password,
    toolName: FIRST_TOOL,
  });
  return made === null ? null : { ...made, tool: FIRST_TOOL, password };
}

/**
 * True if the path exists.
 *
 * @throws the system's error if that cannot be determined, for example EACCES on its folder.
 */
export async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(noneIfGone)) !== null;
}

/**
 * Returns the name of the first user, made from the name of an account of the operating system. Drops a realm, such as
 * `CORP` in `CORP\alice`. Returns `owner` if the rest is not a valid user name.
 */
function firstName(account: string): string {
  return userName(account) ?? userName(account.replace(/^.*\\|@.*$/g, '')) ?? 'owner';
}

async function publicKeys(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const files = names.filter((name) => name.endsWith('.pub')).sort();
  const texts = await Promise.all(files.map((name) => keyText(join(folder, name)).catch(() => '')));
  return texts.flatMap((text) => text.split('\n')).filter((line) => line.trim() !== '');
}

async function keyText(path: string): Promise<string> {
  const found = await stat(path);
  // Read only regular files, because reading a named pipe would block for ever.
  return found.isFile() && found.size <= MAX_KEY_BYTES ? await readFile(path, 'utf8') : '';
}

/** The text that a start prints. @param first - Null if the user directory existed before. */
export function tellStart(first: FirstStart | null, addresses: Addresses, facts: StartFacts): string {
  if (facts.pod !== null) return first === null ? '' : welcomeInPod(first, facts.pod, facts);
  return first === null ? running(addresses, facts.branch) : welcome(first, addresses, facts);
}

/** The text of a start outside a pod that made no user directory: a later start, or any start with LDAP. */
function running(addresses: Addresses, branch: string): string {
  const lines = [
    'Running. To deploy a tool, and to look after it:',
    '',
    `    git remote add toolforge ${sshRemote(addresses, 'USER', 'TOOL')}`,
    `    git push toolforge ${branch}`,
    `    ${sshCommand(addresses, 'USER', 'help')}`,
    '',
    `Over HTTP the remote is ${httpRemote(addresses, 'USER', 'TOOL')}`,
  ];
  return framed(lines);
}

/** The text of the first start in a pod. It names no git remotes: the operator knows how people reach the server. */
function welcomeInPod(
  { uid, tool, password, leftOut }: FirstStart,
  { namespace, name }: ServerPod,
  { web, hostKey }: StartFacts,
): string {
  const local = (words: string, option = '') =>
    `kubectl -n ${namespace} exec ${option}${name} -- node src/cli/bin.ts ${words}`;
  return framed([
    `The first start has made the user ${uid} and the tool ${tool}.`,
    ...leftOut.map((why) => `A key was left out: ${why}.`),
    '',
    `Password:       ${password}   (shown this once)`,
    `Web address:    ${web ?? 'none'}`,
    `Host key:       ED25519 ${hostKey}`,
    `Another user:   ${local('user add NAME --key /dev/stdin <KEY.pub', '-i ')}`,
    `Another tool:   ${local('tool add NAME --maintainer NAME')}`,
  ]);
}

/** The text of the first start: what to type next. */
function welcome(
  first: FirstStart,
  addresses: Addresses,
  { web, hostKey, data, branch }: StartFacts,
): string {
  const npx = `${data === null ? '' : `TOOLFORGE_PUSH_DATA=${data} `}npx toolforge-push`;
  const { uid, tool, password, keys } = first;
  const overSsh = sshRemote(addresses, uid, tool);
  const overHttp = httpRemote(addresses, uid, tool);
  const keyLine =
    keys > 0
      ? `${keys} public key${keys === 1 ? '' : 's'} of ~/.ssh can log in over SSH.`
      : `No public key was found in ~/.ssh. To add one: ssh-keygen -t ed25519, then ${npx} user add ${uid} --key ~/.ssh/id_ed25519.pub`;
  const lines = [
    `Welcome, ${uid}. ${keyLine}`,
    ...first.leftOut.map((why) => `A key was left out: ${why}.`),
    '',
    'In a repository with a Procfile, requirements.txt, package.json or index.html:',
    '',
    `    git remote add toolforge ${keys > 0 ? overSsh : overHttp}`,
    `    git push toolforge ${branch}`,
    '',
    keys > 0
      ? `Over HTTP:      git remote add toolforge ${overHttp}`
      : `Over SSH:       git remote add toolforge ${overSsh}   (once there is a key)`,
    `Password:       ${password}   (shown this once)`,
    `Web address:    ${web ?? 'none'}`,
    `Host key:       ED25519 ${hostKey}`,
    `Commands:       ${(keys > 0 ? sshCommand : httpCommand)(addresses, uid, 'help')}`,
    `Another tool:   ${npx} tool add NAME --maintainer ${uid}   (in the folder of toolforge-push)`,
  ];
  return framed(lines);
}

function framed(lines: readonly string[]): string {
  return `\n${lines.map((line) => `  ${line}`.trimEnd()).join('\n')}\n\n`;
}
