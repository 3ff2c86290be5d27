import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import type { Progress } from '../core/progress.ts';
import type { PackageList } from './package-list.ts';
import { BOUND, explainApt, PROGRAMS } from './stack-faults.ts';

/**
 * The file with the public keys with which apt checks the signatures of Debian. It comes from the package
 * debian-archive-keyring. The trees of a stack have this file too.
 */
export const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** The packages that mmdebstrap, with its variant `minbase`, puts into every tree, as patterns of apt-patterns(7). */
const MINBASE = ['?essential', '?priority(required)', 'apt'];
const INSTALL = ['install', '-y', '-q', '--no-install-recommends'];
/** The progress is printed again when at least this many per cent more of the downloads have arrived. */
const SHOWN_PERCENT = 20;

/** The paths of everything that is needed to make the trees of a stack. */
export interface FetchedPackages {
  /** The folder with the downloaded packages. */
  readonly archives: string;
  /** The folder with Debian's lists of packages. */
  readonly lists: string;
  /** A file that names Debian's package sources, in the format of sources.list(5). */
  readonly sources: string;
  /** A file with the settings of this machine's apt for HTTP and HTTPS, such as proxies, as in apt.conf(5). */
  readonly acquire: string;
}

/**
 * Downloads all packages of a stack into a folder, by this machine's apt. Does not download a package again that an
 * interrupted call has downloaded.
 *
 * @param mirror - The address of Debian's packages, such as `http://deb.debian.org/debian`.
 * @throws DeployError `STACK_NOT_MADE` with the reason why apt cannot download the packages.
 */
export async function fetchPackages(
  folder: string,
  { suite, packages }: PackageList,
  { mirror, progress }: { readonly mirror: string; readonly progress: Progress },
): Promise<FetchedPackages> {
  const fetched = {
    archives: join(folder, 'archives'),
    lists: join(folder, 'lists'),
    sources: join(folder, 'sources.list'),
    acquire: join(folder, 'acquire.conf'),
  };
  const settings = join(folder, 'apt.conf');
  for (const path of [join(fetched.lists, 'partial'), join(fetched.archives, 'partial')])
    await mkdir(path, { recursive: true });
  const { stdout: architecture } = await execa('dpkg', ['--print-architecture'], PROGRAMS);
  await writeFile(fetched.sources, sourcesOf(mirror, suite));
  await writeFile(join(folder, 'status'), '');
  await writeFile(settings, aptSettings(folder, architecture));
  await writeFile(fetched.acquire, await acquireSettings());

  const apt = async (words: readonly string[], onPercent: (percent: number) => void = () => {}) => {
    const [first, ...rest] = [...BOUND, 'apt-get', '-c', settings, '-o', 'APT::Status-Fd=3', ...words];
    const child = execa(first, rest, {
      env: PROGRAMS.env,
      all: true,
      reject: false,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    // apt reports its progress on descriptor 3, in the lines that its README.progress-reporting describes.
    createInterface({ input: child.stdio[3] as Readable }).on('line', (line) =>
      onPercent(Number(/^dlstatus:\d+:([\d.]+):/.exec(line)?.[1] ?? 0)),
    );
    const { exitCode, stdout, all } = await child;
    if (exitCode !== 0) throw explainApt(all, { mirror, suite });
    return stdout;
  };
  progress.step('Fetching Debian’s lists of packages');
  await apt(['update', '-q']);
  const names = [...packages.build, ...MINBASE];
  const plan = await apt([...INSTALL, '--print-uris', '--', ...names]);
  const sizes = Array.from(plan.matchAll(/^'[^']+' \S+ (\d+) /gm), ([, bytes]) => Number(bytes));
  if (sizes.length === 0) return fetched;
  const megabytes = Math.ceil(sizes.reduce((sum, bytes) => sum + bytes, 0) / 1e6);
  progress.step(`Downloading ${sizes.length} packages, ${megabytes} MB`);
  let next = SHOWN_PERCENT;
  await apt([...INSTALL, '-d', '--', ...names], (percent) => {
    if (percent < next) return;
    progress.line(`${Math.floor(percent)} %`);
    next = percent + SHOWN_PERCENT;
  });
  return fetched;
}

/** The package sources of a Debian release, with its updates and security updates, as lines of sources.list(5). */
function sourcesOf(mirror: string, suite: string): string {
  const source = (address: string, release: string) =>
    `deb [signed-by=${KEYRING}] ${address} ${release} main\n`;
  return [
    source(mirror, suite),
    source(mirror, `${suite}-updates`),
    source(`${mirror}-security`, `${suite}-security`),
  ].join('');
}

/** Settings that keep apt away from this machine's own packages, sources, pins and hooks. */
function aptSettings(folder: string, architecture: string): string {
  return `#clear APT::Update;
#clear APT::Architectures;
#clear DPkg;
APT::Architecture "${architecture}";
APT::Architectures { "${architecture}"; };
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Debug::NoLocking "true";
Dir::Cache "${folder}";
Dir::Cache::archives "archives";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "${folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Log "${folder}";
Dir::State "${folder}";
Dir::State::status "${folder}/status";
`;
}

/** The settings of this machine's apt for HTTP and HTTPS, such as proxies and certificates: lines of apt.conf(5). */
async function acquireSettings(): Promise<string> {
  const { stdout } = await execa('apt-config', ['dump'], PROGRAMS);
  const lines = stdout.split('\n').filter((line) => /^Acquire::https?::.* ".+";$/.test(line));
  return lines.map((line) => `${line}\n`).join('');
}
