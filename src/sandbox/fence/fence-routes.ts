import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { writeForAll } from '../folder-reach.ts';
import { childrenOf } from '../process/process-table.ts';

/** The name of the only network device of a sandbox besides loopback. */
export const DEVICE = 'eth0';

const PATH = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
const isRoot = process.getuid?.() === 0;

/** A part of a shell script: sets `file` to `$1` if the network of the sandbox has IPv6, otherwise to `$2`. */
const CHOOSE_FILE = `off=1
read -r off 2>/dev/null </proc/sys/net/ipv6/conf/${DEVICE}/disable_ipv6
if [ "$off" = 0 ]; then file=$1; else file=$2; fi`;

/**
 * The ports from which programs in sandboxes send. By default, the kernel does not assign these ports to other programs
 * (ip_local_port_range).
 */
const PORTS = { first: 61_000, last: 65_535 };

/**
 * Lets UDP packets leave a sandbox only from the ports in `PORTS`. Packets from other ports stay in the sandbox's own
 * network namespace.
 *
 * pasta, which connects the sandbox to the network, sends each packet from the same port of this machine. pasta shares
 * that port with other programs (SO_REUSEADDR), and versions of pasta before 2024 receive all that arrives there.
 * Without this rule, a tool could choose the port of another program and get the answers to that program.
 */
const UDP_RULE = `rule add pref 31000 ipproto udp sport 1-${PORTS.first - 1} lookup ${PORTS.first}`;
const udpRoute = (network: string) => `route add local ${network} dev ${DEVICE} table ${PORTS.first}`;

/**
 * Makes the device ask for no hardware address of another machine (ARP, neighbour discovery). pasta takes all packets,
 * whatever their hardware address.
 *
 * Otherwise, a tool could harm the whole machine. The kernel has one table of neighbours for all network namespaces,
 * and pasta answers for each address of the machine's network. The tool could fill the table with thousands of
 * addresses, and no other program of this machine would find a new neighbour. With this setting, the entries have no
 * hardware address, so the kernel may remove them at any time.
 */
const NO_NEIGHBOURS = `link set dev ${DEVICE} arp off`;

/**
 * How many bytes of kernel memory one socket may keep for options and lists (`net.core.optmem_max`). The default of new
 * kernels is 128 KiB, which no control group counts. Older kernels have one number for all network namespaces. That
 * number is smaller than 128 KiB, and a sandbox does not change it.
 */
const OPTION_BYTES = 8192;

/** The last line of each route file, a comment. If the file lacks it, somebody has emptied or cut the file. */
const LAST_LINE = '# end';

/**
 * A shell script that runs in the network namespace of a sandbox, and cuts that namespace off from the networks in the
 * route files. The script's first two arguments are the paths that `routeFiles` returns.
 *
 * Routes do not stop multicast from a socket that is bound to a device. A policy of the kernel's IPsec (xfrm) stops it,
 * unless the kernel lacks these policies (CONFIG_XFRM_USER). The policies also stop multicast inside the namespace, if
 * `disable_xfrm` of loopback is 0. Otherwise, a tool could stop the whole machine with a message to all hosts
 * (224.0.0.1, ff02::1): the kernel turns interrupts off while it copies such a message for each socket of the port, and
 * a tool can have thousands of sockets.
 */
export const SET_ROUTES = `${CHOOSE_FILE}
{ echo ${PORTS.first} ${PORTS.last} >/proc/sys/net/ipv4/ip_local_port_range; } 2>/dev/null || {
  echo 'the ports of a sandbox cannot be set, because /proc/sys is read-only' >&2
  exit 1
}
{ echo ${OPTION_BYTES} >/proc/sys/net/core/optmem_max; } 2>/dev/null
{ echo 0 >/proc/sys/net/ipv4/conf/lo/disable_xfrm; } 2>/dev/null
{
  # If the file cannot be read to its last line, ip must fail: it stops at an unknown line.
  line=
  while read -r line && [ "$line" != '${LAST_LINE}' ]; do echo "$line"; done <"$file"
  [ "$line" = '${LAST_LINE}' ] || echo unreadable
  echo '${NO_NEIGHBOURS}'
  echo '${udpRoute('0.0.0.0/0')}'
  echo '${UDP_RULE}'
  if [ "$off" = 0 ]; then echo '${udpRoute('::/0')}'; fi
} | ip -batch - || exit 1
if [ "$off" = 0 ]; then ip -6 ${UDP_RULE} || exit 1; fi
if [ "$off" = 0 ]; then ip xfrm policy update dir out dst ff00::/8 action block 2>/dev/null; fi
ip xfrm policy update dir out dst 224.0.0.0/4 action block 2>/dev/null`;

/**
 * A part of a shell script that runs in the network namespace of a sandbox after the command of the sandbox has ended.
 * It ends all TCP connections there. Otherwise, the kernel keeps a connection with unsent data for minutes, and a few
 * such sandboxes after one another would fill the memory that the kernel has for the connections of the whole machine.
 */
export const END_CONNECTIONS = `
for file in /proc/net/sockstat /proc/net/sockstat6; do
  while read -r kind _ open _; do
    case "$kind$open" in TCP*:0) ;; TCP*:[1-9]*) ss -tnHK >/dev/null 2>&1 ;; esac
  done <"$file"
done 2>/dev/null`;

/**
 * A shell script that updates the routes of a namespace in which `SET_ROUTES` has run. The script skips the first line
 * of the route file, a rule that the namespace already has.
 */
const SET_ROUTES_AGAIN = `${CHOOSE_FILE}\ntail -n +2 "$file" | ip -batch -`;

/**
 * The first line of each route file. This rule changes no route. But after a namespace has got its first rule, the
 * kernel always asks the table of local addresses before the main table, even if the main table has narrower routes.
 */
const FIRST_LINE = 'rule add pref 32000 lookup main';

/**
 * Returns the paths of the two route files in `folder`: one with all routes, and one without IPv6 routes, because a
 * namespace without IPv6 refuses IPv6 routes.
 */
export function routeFiles(folder: string): [whole: string, withoutIpv6: string] {
  return [join(folder, 'fence'), join(folder, 'fence-without-ipv6')];
}

/**
 * Writes the two route files, whose paths `routeFiles` returns, into an existing folder.
 *
 * @param networks - The networks whose addresses sandboxes treat as their own.
 * @param exception - An IPv4 address that stays reachable although it is in one of the networks. Null if no address
 * does.
 */
export async function writeRoutes(folder: string, networks: readonly string[], exception: string | null) {
  const text = (some: readonly string[]) => {
    // The metric keeps `replace` from overwriting routes to the same network that the kernel itself has made.
    const lines = some.map((network) => `route replace local ${network} dev ${DEVICE} metric 1`);
    if (exception !== null) lines.push(`route replace ${exception} dev ${DEVICE} scope link table local`);
    return `${[FIRST_LINE, ...lines, LAST_LINE].join('\n')}\n`;
  };
  const [whole, withoutIpv6] = routeFiles(folder);
  await replaceFile(whole, text(networks));
  await replaceFile(withoutIpv6, text(networks.filter((network) => !network.includes(':'))));
}

/**
 * Updates the routes of a running sandbox from the files that `writeRoutes` wrote into `folder`.
 *
 * @param pastaPid - The process id of pasta, the outermost process of the sandbox.
 * @returns false if that failed, mostly because the sandbox is starting or ending. The caller then tries again later.
 */
export async function setRoutesAgain(pastaPid: number, folder: string): Promise<boolean> {
  for (const pid of childrenOf(pastaPid)) {
    const namespaces = openNamespaces(pid);
    if (namespaces === null) continue;
    try {
      // Skip the process if its id was given to another process before the namespaces were opened.
      if (!childrenOf(pastaPid).includes(pid)) continue;
      // Root may set routes in any network namespace. Other users must also enter the user namespace that owns that
      // network namespace.
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

/**
 * Opens the user and network namespaces of a process and returns their paths. Null if the process has ended, or has no
 * network namespace of its own.
 */
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
    // Ignore the error, and return null: the process has ended, or its id now belongs to another process.
  }
  close();
  return null;
}

async function replaceFile(path: string, text: string): Promise<void> {
  await writeForAll(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
