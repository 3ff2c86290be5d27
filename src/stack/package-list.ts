import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { DeployError, systemCode } from '../core/errors.ts';
import type { TreeName } from './stacks.ts';

/** The Debian release and packages of a stack. */
export interface PackageList {
  /** The code name of the Debian release, such as `trixie`. */
  readonly suite: string;
  /** The names of the packages of each tree. The tree `build` also has the packages of `run`. */
  readonly packages: Readonly<Record<TreeName, readonly string[]>>;
  /** A hash of `suite` and `packages`. */
  readonly hash: string;
}

const NAME = /^[a-z0-9][a-z0-9+.-]+$/;
/** The words with which a line may begin. */
const LINES = ['run', 'build', 'suite', 'release'];

/**
 * Reads a list of packages in the format of `deploy/builder/packages`. The first word of a line says what follows:
 * `suite` the code name of the Debian release, `release` its number (not used here), `run` packages of both trees,
 * `build` packages of the tree for builds only.
 *
 * @throws DeployError `NO_FILE` if the list cannot be read; `BAD_PACKAGE_LIST` if a line begins with another word or
 * has a word that is not a package name, or if the lines `suite` do not have exactly one code name.
 */
export async function readPackageList(path: string): Promise<PackageList> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if (systemCode(cause) === null) throw cause;
    throw new DeployError('NO_FILE', `the list of packages ${path} cannot be read`, 'Check its path.', {
      cause,
    });
  });
  const lists: ReadonlyMap<string, string[]> = new Map(LINES.map((word) => [word, []]));
  for (const [index, line] of text.split('\n').entries()) {
    const [first, ...rest] = line
      .replace(/#.*/, '')
      .split(/\s+/)
      .filter((word) => word !== '');
    if (first === undefined) continue;
    const list = lists.get(first);
    const wrong = rest.find((word) => !NAME.test(word));
    if (list === undefined || wrong !== undefined)
      throw new DeployError(
        'BAD_PACKAGE_LIST',
        list === undefined
          ? `line ${index + 1} of ${path} begins with the word ${first}, not with ${LINES.join(' or ')}`
          : `line ${index + 1} of ${path} has the word ${wrong}, which is not the name of a package`,
        'Begin each line with run or build and the names of Debian packages, or with suite and the code name of the Debian release (suite trixie), or with release and its number (release 13).',
      );
    list.push(...rest);
  }
  const [suite = [], run = [], build = []] = ['suite', 'run', 'build'].map((word) => lists.get(word));
  if (suite.length !== 1 || !/^[a-z]+$/.test(suite[0] ?? ''))
    throw new DeployError(
      'BAD_PACKAGE_LIST',
      `the list of packages ${path} does not name one Debian release`,
      'Add a line such as: suite trixie',
    );
  const packages = { run, build: [...run, ...build] };
  const hash = createHash('sha256')
    .update(JSON.stringify([suite, packages]))
    .digest('hex')
    .slice(0, 12);
  return { suite: suite[0] ?? '', packages, hash };
}
