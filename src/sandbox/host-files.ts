import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What of this machine a sandbox shows, as arguments for bwrap, and how it resolves names, for pasta. */
export interface HostFiles {
  readonly bwrap: readonly string[];
  readonly pasta: readonly string[];
  /** The address at which pasta answers for the resolver; null if the sandbox asks servers outside by itself. */
  readonly forwarder: string | null;
}

export interface HostFilesOptions {
  /** `/`, except in tests. */
  readonly root?: string;
  /** Whether sandboxes are kept away from an address. */
  readonly isFenced: (address: string) => boolean;
  /** Folders and files of the server that no sandbox sees, wherever they are. */
  readonly hidden?: readonly string[];
}

/** Of /etc, what programs need to find libraries, names, time, certificates and fonts; no accounts, no secrets. */
const SHOWN_OF_ETC =
  /^(hosts|host\.conf|gai\.conf|nsswitch\.conf|protocols|services|mime\.types|localtime|timezone|os-release|debian_version|ca-certificates(\.conf)?|alternatives|ld\.so\.(cache|conf|conf\.d)|fonts|dpkg|python3.*|perl|java-.*|locale\.alias|magic|magic\.mime|terminfo|xml|sgml|ImageMagick-\d+|php|ruby.*)$/;

/** Of /etc/ssl what is known to everybody. Operators keep this server's own key beside it, which its uid may read. */
const SHOWN_OF_SSL = /^(certs|cert\.pem|openssl\.cnf)$/;

/** Of apt its sources, keys, pins and settings: builds install Debian packages. Not auth.conf, which holds passwords. */
const SHOWN_OF_APT = /^(sources\.list(\.d)?|apt\.conf(\.d)?|preferences(\.d)?|trusted\.gpg(\.d)?|keyrings)$/;

/** What is installed here, at the place where buildpacks look for what their run image has. */
const DPKG_STATUS = { source: 'var/lib/dpkg/status', target: '/cnb/run-image/dpkg-status' };

const PASSWD = [
  'root:x:0:0:root:/root:/usr/sbin/nologin',
  'tool:x:1000:1000:tool:/home/tool:/bin/sh',
  'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
];
const GROUP = ['root:x:0:', 'tool:x:1000:', 'nogroup:x:65534:'];

// An address of the link-local range (RFC 3927) that pasta answers for; nothing else is there.
const DNS_ADDRESS = '169.254.1.53';

/**
 * Looks at this machine and writes the few files that a sandbox has of its own into `folder`.
 */
export async function hostFiles(
  folder: string,
  { root = '/', isFenced, hidden = [] }: HostFilesOptions,
): Promise<HostFiles> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const own = async (name: string, lines: readonly string[]) => {
    const path = join(folder, name);
    await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o644 });
    return ['--ro-bind', path, `/etc/${name}`];
  };
  const shown = (folder: string, names: RegExp) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder))
          .filter((name) => names.test(name))
          .map((name) => join(folder, name))
      : [];
  const shownFiles = [
    ...shown('etc', SHOWN_OF_ETC),
    ...shown('etc/ssl', SHOWN_OF_SSL),
    ...shown('etc/apt', SHOWN_OF_APT),
  ];
  const resolverFile = resolver(root, isFenced);
  return {
    bwrap: [
      ...['--ro-bind', join(root, 'usr'), '/usr'],
      ...hidden.flatMap((path) => covering(join(root, 'usr'), path)),
      ...['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'].flatMap((name) => topFolder(root, name)),
      ...shownFiles.flatMap((name) => ['--ro-bind-try', join(root, name), `/${name}`]),
      ...['--ro-bind-try', join(root, DPKG_STATUS.source), DPKG_STATUS.target],
      ...(await own('passwd', PASSWD)),
      ...(await own('group', GROUP)),
      ...(resolverFile === null
        ? await own('resolv.conf', [`nameserver ${DNS_ADDRESS}`])
        : ['--ro-bind-try', resolverFile, '/etc/resolv.conf']),
    ],
    pasta: resolverFile === null ? ['--dns-forward', DNS_ADDRESS] : [],
    forwarder: resolverFile === null ? DNS_ADDRESS : null,
  };
}

/** Arguments that cover a path if it is in /usr, which all else of sandboxes shows; `usr` is where that is. */
function covering(usr: string, path: string): string[] {
  if (!existsSync(path)) return [];
  const [from, real] = [realpathSync(usr), realpathSync(path)];
  if (!real.startsWith(`${from}/`)) return [];
  const target = join('/usr', real.slice(from.length));
  if (!statSync(real).isDirectory()) return ['--ro-bind', '/dev/null', target];
  return ['--tmpfs', target, '--remount-ro', target];
}

/** `/bin` and friends as this machine has them: links into /usr, or folders on an unmerged system. */
function topFolder(root: string, name: string): string[] {
  const path = join(root, name);
  if (!existsSync(path)) return [];
  return lstatSync(path).isSymbolicLink()
    ? ['--symlink', readlinkSync(path), `/${name}`]
    : ['--ro-bind', path, `/${name}`];
}

/**
 * The resolver file to show. A resolver on this machine itself (systemd-resolved, dnsmasq) is out of reach from inside,
 * and so is one in a blocked network. Then it is the file with the servers that systemd-resolved asks. If those are out
 * of reach as well, null: pasta forwards.
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
