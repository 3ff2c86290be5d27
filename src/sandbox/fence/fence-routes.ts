import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { writeForAll } from '../folder-reach.ts';
import { childrenOf } from '../process/process-table.ts';

/** The name of the only device of a sandbox besides loopback. */
export const DEVICE = 'eth0';

const PATH = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
const isRoot = process.getuid?.() === 0;

const CHOOSE_FILE = `off=1
read -r off 2>/dev/null </proc/sys/net/ipv6/conf/${DEVICE}/disable_ipv6
if [ "$off" = 0 ]; then file=$1; else file=$2; fi`;

/** The source ports of sandboxes. Kernels do not assign them to other programs by default (ip_local_port_range). */
const PORTS = { first: 61_000, last: 65_535 };

/**
 * Lets UDP leave only from these ports. pasta opens the same port on this machine as the sender's, with SO_REUSEADDR, and
 * receives everything that arrives there (passt before 2024). So a tool could take any port, and answers to others. With
 * this rule, packets from other ports are routed to the namespace itself.
 */
const UDP_RULE = `rule add pref 31000 ipproto udp sport 1-${PORTS.first - 1} lookup ${PORTS.first}`;
const udpRoute = (network: string) => `route add local ${network} dev ${DEVICE} table ${PORTS.first}`;

/**
 * A shell script that fences the network namespace in which it runs. Its two arguments are `routeFiles`.
 *
 * Routes do not stop multicast by a bound socket. A policy does, if the kernel has them (CONFIG_XFRM_USER).
 */
export const SET_ROUTES = `${CHOOSE_FILE}
{ echo ${PORTS.first} ${PORTS.last} >/proc/sys/net/ipv4/ip_local_port_range; } 2>/dev/null || {
  echo 'the ports of a sandbox cannot be set, because /proc/sys is read-only' >&2
  exit 1
}
{
  # If the file cannot be read, ip must fail: it stops at an unknown line.
  while read -r line; do echo "$line"; done <"$file" || echo unreadable
  echo '${udpRoute('0.0.0.0/0')}'
  echo '${UDP_RULE}'
  if [ "$off" = 0 ]; then echo '${udpRoute('::/0')}'; fi
} | ip -batch - || exit 1
if [ "$off" = 0 ]; then ip -6 ${UDP_RULE} || exit 1; fi
ip xfrm policy update dir out dst 224.0.0.0/4 action block 2>/dev/null`;

/** The same for a namespace in which the first line of the file was already run. */
const SET_ROUTES_AGAIN = `${CHOOSE_FILE}\ntail -n +2 "$file" | ip -batch -`;

/** Any added rule makes the kernel ask the local table first, even if the main table has narrower routes. */
const FIRST_LINE = 'rule add pref 32000 lookup main';

/** The file with all routes, and the file for a namespace without IPv6, which would refuse some of them. */
export function routeFiles(folder: string): [whole: string, withoutIpv6: string] {
  return [join(folder, 'fence'), join(folder, 'fence-without-ipv6')];
}

/**
 * Writes `routeFiles` into a folder that exists.
 *
 * @param networks - The addresses that sandboxes treat as their own.
 * @param exception - An IPv4 address in one of the networks that stays reachable; null = none.
 */
export async function writeRoutes(folder: string, networks: readonly string[], exception: string | null) {
  const text = (some: readonly string[]) => {
    // The metric keeps these apart from the namespace's own routes to the same network.
    const lines = some.map((network) => `route replace local ${network} dev ${DEVICE} metric 1`);
    if (exception !== null) lines.push(`route replace ${exception} dev ${DEVICE} scope link table local`);
    return `${[FIRST_LINE, ...lines].join('\n')}\n`;
  };
  const [whole, withoutIpv6] = routeFiles(folder);
  await replaceFile(whole, text(networks));
  await replaceFile(withoutIpv6, text(networks.filter((network) => !network.includes(':'))));
}

/**
 * Sets the routes of a running sandbox from `routeFiles`.
 *
 * @param pastaPid - The outermost process of the sandbox.
 * @returns false if the sandbox is starting or ending; then the caller tries again.
 */
export async function setRoutesAgain(pastaPid: number, folder: string): Promise<boolean> {
  for (const pid of childrenOf(pastaPid)) {
    const namespaces = openNamespaces(pid);
    if (namespaces === null) continue;
    try {
      // The id may have been reused before the namespaces were opened.
      if (!childrenOf(pastaPid).includes(pid)) continue;
      // Root may set routes in any network namespace. Other users must also enter the user namespace that owns it.
      const user = isRoot ? [] : [`--user=${namespaces.user}`, '--preserve-credentials'];
      const script = ['sh', '-c', SET_ROUTES_AGAIN, 'sh', ...routeFiles(folder)];
      const set = await execa('nsenter', [...user, `--net=${namespaces.net}`, '--', ...script], {
        env: PATH,
        extendEnv: false,
        stdio: 'ignore',
        reject: false,
      });
      if (set.exitCode === 0) return true;
    } finally {
      namespaces.close();
    }
  }
  return false;
}

interface OpenNamespaces {
  readonly user: string;
  readonly net: string;
  close(): void;
}

/** Holds the namespaces of a process open, as paths. Null if it has ended, or has no network namespace of its own. */
function openNamespaces(pid: number): OpenNamespaces | null {
  const opened: number[] = [];
  const open = (name: string) => {
    const fd = openSync(`/proc/${pid}/ns/${name}`, 'r');
    opened.push(fd);
    return fd;
  };
  const close = () => opened.forEach(closeSync);
  try {
    const [user, net] = [open('user'), open('net')];
    const path = (fd: number) => `/proc/${process.pid}/fd/${fd}`;
    // Never change the network of this machine itself.
    if (fstatSync(net).ino !== statSync('/proc/self/ns/net').ino) {
      return { user: path(user), net: path(net), close };
    }
  } catch {
    // The process has ended, or its id now belongs to another process.
  }
  close();
  return null;
}

async function replaceFile(path: string, text: string): Promise<void> {
  await writeForAll(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
