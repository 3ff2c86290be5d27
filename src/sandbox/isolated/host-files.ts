import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolderForAll, writeForAll } from '../folder-reach.ts';
import { Covers } from './covers.ts';

/**
 * The arguments of bwrap that show files of this machine in a sandbox, and the arguments of pasta for resolving names.
 */
export interface HostFiles {
  readonly bwrap: readonly string[];
  /**
   * bwrap's arguments that lay files over the /etc of a Debian tree: the sandbox's own accounts, and this machine's
   * name servers, host names and certificate authorities.
   */
  readonly overTree: readonly string[];
  /** Hides files of the server in the mounts of a command that show folders of this machine. */
  readonly covers: Covers;
  readonly pasta: readonly string[];
  /** The address at which pasta answers the DNS queries of sandboxes. Null if sandboxes ask other servers directly. */
  readonly forwarder: string | null;
}

export interface HostFilesOptions {
  /** The root folder of this machine: `/`, except in tests. */
  readonly root?: string;
  /** True if sandboxes are kept away from this address. */
  readonly isFenced: (address: string) => boolean;
  /** The folders and files of the server that no sandbox may see, even if they are in a folder that sandboxes see. */
  readonly hidden?: readonly string[];
}

/**
 * The names in /etc that programs need, for example for libraries, name lookups, time, certificates and fonts. Accounts
 * and secrets are not among them. Without the folder `maven`, Maven does not start.
 */
const SHOWN_OF_ETC =
  /^(hosts|host\.conf|gai\.conf|nsswitch\.conf|protocols|services|mime\.types|localtime|timezone|os-release|debian_version|ca-certificates(\.conf)?|alternatives|ld\.so\.(cache|conf|conf\.d)|fonts|dpkg|python3.*|perl|java-.*|maven|locale\.alias|magic|magic\.mime|terminfo|xml|sgml|ImageMagick-\d+|php|ruby.*)$/;

/**
 * The public names in /etc/ssl. Sandboxes do not see the whole folder, because operators may keep the server's TLS key
 * in it.
 */
const SHOWN_OF_SSL = /^(certs|cert\.pem|openssl\.cnf)$/;

/**
 * The names in /etc/apt that builds need to install Debian packages. auth.conf is left out, because it has passwords.
 */
const SHOWN_OF_APT = /^(sources\.list(\.d)?|apt\.conf(\.d)?|preferences(\.d)?|trusted\.gpg(\.d)?|keyrings)$/;

/** The list of installed packages, at the path where buildpacks look for their run image's packages. */
const DPKG_STATUS = { source: 'var/lib/dpkg/status', target: '/cnb/run-image/dpkg-status' };

/** The files of this machine that a sandbox shows in place of the files of a Debian tree. */
const SHOWN_OVER_TREE = ['etc/hosts', 'etc/ssl/certs/ca-certificates.crt'];

const PASSWD = [
  'root:x:0:0:root:/root:/usr/sbin/nologin',
  'tool:x:1000:1000:tool:/home/tool:/bin/sh',
  'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
];
const GROUP = ['root:x:0:', 'tool:x:1000:', 'nogroup:x:65534:'];

// A link-local address (RFC 3927) at which pasta answers the DNS queries of sandboxes.
const DNS_ADDRESS = '169.254.1.53';

/**
 * Inspects this machine and returns the arguments that show its files in sandboxes. Writes the few files that sandboxes
 * do not share with this machine into `folder`.
 */
export async function hostFiles(
  folder: string,
  { root = '/', isFenced, hidden = [] }: HostFilesOptions,
): Promise<HostFiles> {
  await makeFolderForAll(folder);
  const own = async (name: string, lines: readonly string[]) => {
    const path = join(folder, name);
    await writeForAll(path, `${lines.join('\n')}\n`);
    return ['--ro-bind', path, `/etc/${name}`];
  };
  const covers = new Covers(hidden);
  const shown = (folder: string, names: RegExp) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder))
          .filter((name) => names.test(name))
          .map((name) => ({ source: join(root, folder, name), target: join('/', folder, name) }))
          .filter(({ source }) => existsSync(source) && !covers.hides(source))
      : [];
  const usr = { source: join(root, 'usr'), target: '/usr' };
  const shownFiles = [
    ...shown('etc', SHOWN_OF_ETC),
    ...shown('etc/ssl', SHOWN_OF_SSL),
    ...shown('etc/apt', SHOWN_OF_APT),
  ];
  const resolverFile = resolver(root, isFenced);
  const overAny = [
    ...(await own('passwd', PASSWD)),
    ...(await own('group', GROUP)),
    ...(resolverFile === null
      ? await own('resolv.conf', [`nameserver ${DNS_ADDRESS}`])
      : ['--ro-bind-try', resolverFile, '/etc/resolv.conf']),
  ];
  const overTree = SHOWN_OVER_TREE.map((path) => ({ source: join(root, path), target: join('/', path) }))
    .filter(({ source }) => existsSync(source) && !covers.hides(source))
    .flatMap(({ source, target }) => ['--ro-bind-try', source, target]);
  return {
    bwrap: [
      ...['--ro-bind', usr.source, usr.target],
      ...topFolders(root),
      ...shownFiles.flatMap(({ source, target }) => ['--ro-bind-try', source, target]),
      ...covers.argumentsFor([usr, ...shownFiles]),
      ...['--ro-bind-try', join(root, DPKG_STATUS.source), DPKG_STATUS.target],
      ...overAny,
    ],
    overTree: [...overTree, ...overAny],
    covers,
    pasta: resolverFile === null ? ['--dns-forward', DNS_ADDRESS] : [],
    forwarder: resolverFile === null ? DNS_ADDRESS : null,
  };
}

/** Returns arguments that show the files of a Debian tree: its /usr, /bin and so on, and its whole /etc and /var. */
export function treeFiles(tree: string): string[] {
  // Resolve the links of this path once: an update of a stack replaces one of them, and all folders must come from one
  // tree.
  const root = realpathSync(tree);
  const folders = ['usr', 'etc', 'var'].flatMap((name) => ['--ro-bind', join(root, name), `/${name}`]);
  return [...folders, ...topFolders(root)];
}

function topFolders(root: string): string[] {
  return ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'].flatMap((name) => topFolder(root, name));
}

/**
 * Returns arguments that show a top folder such as `/bin` as on this machine: a link into /usr, or a folder on a system
 * that has not merged such folders into /usr.
 */
function topFolder(root: string, name: string): string[] {
  const path = join(root, name);
  if (!existsSync(path)) return [];
  return lstatSync(path).isSymbolicLink()
    ? ['--symlink', readlinkSync(path), `/${name}`]
    : ['--ro-bind', path, `/${name}`];
}

/**
 * Returns the path of the resolv.conf to show in sandboxes: usually /etc/resolv.conf. Sandboxes cannot reach name
 * servers on this machine (systemd-resolved, dnsmasq) or in a blocked network. If that file names only such servers,
 * returns the file with the servers that systemd-resolved asks. Null if sandboxes cannot reach those servers either:
 * pasta then forwards the queries of sandboxes.
 */
function resolver(root: string, isFenced: HostFilesOptions['isFenced']): string | null {
  const usual = join(root, 'etc/resolv.conf');
  if (!existsSync(usual)) return usual;
  return (
    [usual, join(root, 'run/systemd/resolve/resolv.conf')].find((path) => hasOutsideServer(path, isFenced)) ??
    null
  );
}

function hasOutsideServer(path: string, isFenced: HostFilesOptions['isFenced']): boolean {
  if (!existsSync(path)) return false;
  const servers = readFileSync(path, 'utf8').matchAll(/^\s*nameserver\s+(\S+)/gm);
  return Array.from(servers, ([, address = '']) => address).some((address) => !isFenced(address));
}
