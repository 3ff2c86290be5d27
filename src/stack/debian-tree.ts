import { createWriteStream, existsSync } from 'node:fs';
import { chmod, lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { removeTree } from '../core/disk/remove-tree.ts';
import type { Progress } from '../core/progress.ts';
import type { FetchedPackages } from './debian-packages.ts';
import { BOUND, explainMmdebstrap, fullDisk, PROGRAMS } from './stack-faults.ts';

/** The folder with the certificate authorities that the operator of a Debian machine has added. */
const LOCAL_AUTHORITIES = '/usr/local/share/ca-certificates';
/** Files below /usr/share that a tree does not get, as in the slim images of Debian. It still gets those of `KEPT`. */
const LEFT_OUT = ['doc/*', 'info/*', 'lintian/*', 'locale/*', 'man/*'];
const KEPT = ['doc/*/copyright', 'locale/locale.alias'];
/**
 * Files in /etc over which a sandbox mounts its own files. Each tree has a plain file at these places, because bwrap
 * can mount a file only over a plain file.
 */
const COVERED = ['resolv.conf', 'hosts', 'passwd', 'group', 'ssl/certs/ca-certificates.crt'];
/** Folders that are empty in a finished tree: no sandbox needs their content. */
const EMPTY = [
  'boot',
  'dev',
  'proc',
  'run',
  'sys',
  'tmp',
  'var/log',
  'var/tmp',
  'var/lib/apt/lists',
  'var/cache/apt',
];

export interface TreeOptions {
  readonly suite: string;
  readonly packages: readonly string[];
  readonly fetched: FetchedPackages;
  /** The file for the whole output of mmdebstrap. */
  readonly log: string;
  readonly progress: Progress;
}

/**
 * Makes a Debian tree in the new folder `target`. The tree belongs to the user of this process, and has neither device
 * files nor setuid or setgid programs. If this function fails, `target` does not exist.
 *
 * @throws DeployError `STACK_NOT_MADE` with the reason why mmdebstrap or tar failed.
 */
export async function makeTree(target: string, options: TreeOptions): Promise<void> {
  const half = `${target}.half`;
  await removeTree(half);
  if (process.getuid?.() === 0) await run(options, ['--mode=root', '--format=directory'], half);
  else await unpackInto(half, options);
  await finish(half);
  // Write the tree to the disk before it gets its name. Otherwise, it could have empty files after a loss of power, and
  // the next attempt would use it.
  await execa('sync', ['-f', half], PROGRAMS);
  await rename(half, target);
}

/**
 * Makes the tree as an archive and unpacks it into `folder`. If a plain user ran mmdebstrap without an archive, the
 * files of the tree would belong to user ids of a namespace, not to this user.
 */
async function unpackInto(folder: string, options: TreeOptions): Promise<void> {
  await mkdir(folder);
  const words = ['--extract', '--file=-', `--directory=${folder}`, '--no-same-owner', '--exclude=./dev/*'];
  const tar = execa('tar', words, { ...PROGRAMS, stdin: 'pipe', reject: false, all: true });
  // Ignore errors of this stream: if tar ends early, its exit status and output tell why.
  tar.stdin.on('error', () => {});
  try {
    await run(options, ['--mode=unshare', '--format=tar'], '-', tar.stdin);
  } catch (error) {
    throw fullDisk((await tar).all) ?? error;
  }
  const { exitCode, all } = await tar;
  if (exitCode !== 0) throw explainMmdebstrap(all, options.log);
}

async function run(
  { suite, packages, fetched, log, progress }: TreeOptions,
  mode: readonly string[],
  target: string,
  archive: NodeJS.WritableStream | null = null,
): Promise<void> {
  // If this process is root, `unshare` gives mmdebstrap namespaces of its own. If mmdebstrap is then killed, the
  // namespaces end, and with them its mounts and processes. For a plain user, mmdebstrap makes its own namespaces, and
  // needs a temporary folder that all users may enter. Let this be /var/tmp by default, because /tmp is often in
  // memory.
  const wrapper =
    process.getuid?.() === 0
      ? ['unshare', '--mount', '--pid', '--mount-proc', '--fork', '--kill-child', '--']
      : // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell reads it.
        ['sh', '-c', 'TMPDIR=${TMPDIR:-/var/tmp} exec "$@"', 'sh'];
  const authorities = existsSync(LOCAL_AUTHORITIES)
    ? [`--essential-hook=copy-in ${LOCAL_AUTHORITIES} ${dirname(LOCAL_AUTHORITIES)}`]
    : [];
  const [first, ...words] = [
    ...BOUND,
    ...wrapper,
    'mmdebstrap',
    ...mode,
    '--variant=minbase',
    ...(packages.length === 0 ? [] : [`--include=${packages.join(',')}`]),
    `--aptopt=${fetched.acquire}`,
    ...LEFT_OUT.map((path) => `--dpkgopt=path-exclude=/usr/share/${path}`),
    ...KEPT.map((path) => `--dpkgopt=path-include=/usr/share/${path}`),
    // Let dpkg not wait for the disk after each package: a tree that is unfinished at a loss of power is made again.
    '--dpkgopt=force-unsafe-io',
    // Both trees get the packages that `fetchPackages` has downloaded, so that they have the same versions.
    ...['--skip=update', '--skip=download/empty'],
    '--setup-hook=mkdir -p "$1/var/cache/apt/archives" "$1/var/lib/apt/lists"',
    `--setup-hook=sync-in ${quoted(fetched.archives)} /var/cache/apt/archives`,
    `--setup-hook=sync-in ${quoted(fetched.lists)} /var/lib/apt/lists`,
    // Make this folder, because update-alternatives, which the package of Java runs, fails without it.
    '--essential-hook=mkdir -p "$1/usr/share/man/man1"',
    ...authorities,
    ...[suite, target, fetched.sources],
  ];
  const child = execa(first, words, {
    ...PROGRAMS,
    reject: false,
    buffer: { stdout: false, stderr: true },
  });
  const output = createWriteStream(log, { flags: 'a' });
  child.stderr.pipe(output);
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('I: installing ')) progress.line(line.slice(3).replace(/\.*$/, ''));
  });
  if (archive === null) child.stdout.pipe(output, { end: false });
  else child.stdout.pipe(archive);
  const { exitCode, stderr } = await child;
  if (exitCode !== 0) throw explainMmdebstrap(stderr, log);
}

/**
 * Empties the folders of `EMPTY`. Clears the setuid and setgid bits of files. Makes the files over which a sandbox
 * mounts its own.
 */
async function finish(tree: string): Promise<void> {
  for (const folder of EMPTY)
    for (const name of await readdir(join(tree, folder)).catch(() => []))
      await removeTree(join(tree, folder, name));
  // Clear the setuid and setgid bits, which have no effect in a sandbox: a program there cannot get other rights than
  // its caller's.
  await execa(
    'find',
    [tree, '-xdev', '-type', 'f', '-perm', '/6000', '-exec', 'chmod', 'ug-s', '{}', '+'],
    PROGRAMS,
  );
  for (const name of COVERED) {
    const path = join(tree, 'etc', name);
    if ((await lstat(path).catch(() => null))?.isFile()) continue;
    await rm(path, { force: true });
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, '');
  }
  await chmod(tree, 0o755);
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`;
}
