import { existsSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Config } from '../config.ts';
import { DeployError } from '../core/errors.ts';
import type { Log } from '../core/log/log.ts';
import { sentence } from '../core/text/sentence.ts';
import { checkReach } from './folder-reach.ts';
import { IsolatedSandbox, WRAPPER_ENVIRONMENT } from './isolated/isolated-sandbox.ts';
import { Cgroups } from './process/cgroups.ts';
import { instanceId } from './process/marked-processes.ts';
import type { Sandbox } from './sandbox.ts';
import { TrustedSandbox } from './trusted-sandbox.ts';

export interface Choice {
  readonly sandbox: Sandbox;
  /** The resources that control groups limit on this machine: any of `memory`, `pids` and `cpu`, or none. */
  readonly limited: readonly string[];
  /**
   * Says why tools are not isolated although the setting `sandbox` is `auto`, and which command would probably enable
   * isolation. Otherwise null.
   */
  readonly whyTrusted: string | null;
  /** The command that most probably enables isolation, if root runs it. */
  readonly remedy: string;
}

const INSTALL = 'apt-get install bubblewrap passt util-linux iproute2';
// The command that lets other users open /dev/net/tun. On Debian, udev sets the same mode. The mode is harmless,
// because only a user with CAP_NET_ADMIN may create a network device through /dev/net/tun: see "Set permissions" in the
// kernel's networking/tuntap.
const OPEN_TUN = 'chmod 0666 /dev/net/tun';
const OPEN_PROC = 'mount -o remount,rw /proc/sys';
/** The settings whose values are paths of secret files or folders. */
const SECRETS = [
  'keys',
  'tls_key',
  'ldap_bind_password_file',
  'replica_folder',
  'config_vars_folder',
] as const;
type Secret = (typeof SECRETS)[number];
const PROBE_MS = 10_000;

/**
 * Chooses the sandbox by the setting `sandbox`. All processes of an earlier server must have ended. If the setting is
 * `isolated` or `auto`, starts a whole sandbox as a test, because a container or AppArmor may stop the installed
 * programs from working.
 *
 * @param alsoHidden - Files and folders that no sandbox may see, beside the data folder and the secret files that the
 * settings name.
 * @param shareOf - For the number of a preview, returns the number of its tool, because both use one share of the
 * machine. Returns every other number unchanged. By default, each tool has a share of its own.
 * @throws DeployError `NO_ISOLATION` if the setting is `isolated`, but isolation does not work; `DATA_FOLDER_CLOSED` if
 * each tool gets a user of its own, but these users could not reach their files.
 */
export async function chooseSandbox(
  config: Pick<Config, 'sandbox' | 'sandbox_uid' | 'blocked_networks' | 'data'> &
    Partial<Pick<Config, Secret>>,
  log: Pick<Log, 'error'>,
  alsoHidden: readonly string[] = [],
  shareOf: (toolNumber: number) => number = (toolNumber) => toolNumber,
): Promise<Choice> {
  const folder = join(config.data, 'sandbox');
  await mkdir(folder, { recursive: true });
  // Output pipes are created in this folder. Other users may pass through it, but not list it: a user who learned the
  // name of a pipe could open the pipe before this server deletes the name.
  await chmod(folder, 0o711);
  const instance = instanceId(config.data);
  const cgroups = new Cgroups({ instance });
  const trusted = new TrustedSandbox({ folder, instance, cgroups });
  await cgroups.removeLeftovers();
  const limited = cgroups.resources;
  if (config.sandbox === 'trusted') return { sandbox: trusted, limited, whyTrusted: null, remedy: INSTALL };

  const missing = missingProgram();
  if (missing !== null)
    return without(config.sandbox, { sandbox: trusted, limited }, `${missing} is not installed`);
  const isolated = await IsolatedSandbox.open({
    folder,
    instance,
    baseUid: config.sandbox_uid,
    blockedNetworks: config.blocked_networks,
    // Hide the server's files, because tools without users of their own run as the server's user and could read them.
    hidden: [config.data, ...alsoHidden, ...SECRETS.flatMap((name) => config[name] ?? [])],
    cgroups,
    shareOf,
    log,
  }).catch((error: Error) => error);
  if (isolated instanceof Error)
    return without(config.sandbox, { sandbox: trusted, limited }, isolated.message);
  if (process.getuid?.() === 0) await checkReach(folder);
  const problem = await probe(isolated, folder);
  if (problem === null) return { sandbox: isolated, limited, whyTrusted: null, remedy: INSTALL };
  return without(config.sandbox, { sandbox: trusted, limited }, problem);
}

function without(
  mode: 'auto' | 'isolated',
  trusted: Pick<Choice, 'sandbox' | 'limited'>,
  problem: string,
): Choice {
  const why = `tools cannot be isolated here: ${problem}`;
  const remedy = remedyFor(problem);
  if (mode === 'auto')
    return { ...trusted, whyTrusted: `${sentence(why)} To change that: ${remedy}`, remedy };
  throw new DeployError(
    'NO_ISOLATION',
    why,
    `Run \`${remedy}\` as root, or set the setting sandbox to trusted.`,
  );
}

function remedyFor(problem: string): string {
  if (problem.includes('/proc/sys')) return OPEN_PROC;
  return /\btun\b/.test(problem) && existsSync('/dev/net/tun') ? OPEN_TUN : INSTALL;
}

/** Returns a program that isolation needs and that this machine lacks. Null if all programs are installed. */
function missingProgram(): string | null {
  const programs = ['bwrap', 'pasta', 'prlimit', 'setpriv', 'nsenter', 'ip'];
  for (const program of programs) {
    const places = WRAPPER_ENVIRONMENT.PATH.split(':').map((folder) => join(folder, program));
    if (!places.some((place) => existsSync(place))) return program;
  }
  return null;
}

/**
 * Tests whether isolation works: runs the program `true` in a complete sandbox. @returns why this failed, or null if
 * the program ran.
 */
async function probe(sandbox: Sandbox, folder: string): Promise<string | null> {
  const mount = { source: folder, target: '/workspace', isWritable: false };
  const child = sandbox.start({
    name: 'probe',
    argv: ['/bin/true'],
    env: {},
    cwd: sandbox.path(mount),
    mounts: [mount],
    tree: null,
    toolNumber: 0,
    limits: { processes: 16, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 * 1024 },
    publish: null,
  });
  const limit = setTimeout(() => child.kill(), PROBE_MS);
  const words = text(child.output);
  const exit = await child.exited;
  clearTimeout(limit);
  if (exit.code === 0) return null;
  const said = (await words).trim().split('\n').at(-1) ?? '';
  return said === '' ? `bwrap in pasta ended with ${exit.code ?? exit.signal}` : said;
}
