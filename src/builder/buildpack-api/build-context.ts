import { readFile } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { systemCode } from '../../core/errors.ts';
import type { Mask } from '../../core/masking/masking.ts';
import type { Progress } from '../../core/progress.ts';
import type { Limits, Sandbox, SharedNetwork } from '../../sandbox/sandbox.ts';
import type { BuildLimits } from '../build-limits.ts';
import type { BuildPlaces } from './build-mounts.ts';
import type { Environment } from './layer-environment.ts';

/** Everything that each step of one build needs. */
export interface BuildContext {
  /** The tool's name, for people. */
  readonly name: string;
  readonly toolNumber: number;
  readonly sandbox: Sandbox;
  /** The network that all detections and buildpacks of the build share. */
  readonly network: SharedNetwork;
  readonly places: BuildPlaces;
  /** The root folder of the Debian tree for builds. Null if builds see this machine's own /usr. */
  readonly tree: string | null;
  readonly guard: BuildLimits;
  readonly limits: Limits;
  readonly progress: Progress;
  readonly mask: Mask;
  /**
   * The environment at the start of a build, such as PATH and HOME, without the variables of the fields `target` and
   * `variables`.
   */
  readonly environment: Readonly<Environment>;
  /** Variables that describe the machine on which the artifact will run: CNB_TARGET_OS, CNB_TARGET_ARCH and so on. */
  readonly target: Readonly<Environment>;
  /**
   * The operator's variables for builds, the variables of app.json, those of project.toml, and the tool's config vars.
   * If two have the same name, the later one in this list is used. Each variable is also a file in /platform/env.
   */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * The Buildpack API uses Go's names of processors. The keys are the names that Node.js gives to the same processors. A
 * name that is not a key here is used unchanged.
 */
const goNames: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/**
 * The variables that describe the machine on which the artifact will run: CNB_TARGET_OS, CNB_TARGET_ARCH and so on.
 *
 * @see https://github.com/buildpacks/spec/blob/main/buildpack.md#targets
 */
export async function targetVariables(osRelease = '/etc/os-release'): Promise<Environment> {
  const release = await readRelease(osRelease);
  const distribution: Environment = {};
  if (release['ID'] !== undefined) distribution['CNB_TARGET_DISTRO_NAME'] = release['ID'];
  if (release['VERSION_ID'] !== undefined) distribution['CNB_TARGET_DISTRO_VERSION'] = release['VERSION_ID'];
  return { CNB_TARGET_OS: platform(), CNB_TARGET_ARCH: goNames[arch()] ?? arch(), ...distribution };
}

async function readRelease(path: string): Promise<Partial<Record<string, string>>> {
  try {
    const lines = (await readFile(path, 'utf8')).matchAll(/^([A-Z_]+)=["']?([^"'\n]*)["']?$/gm);
    return Object.fromEntries(Array.from(lines, ([, name = '', value = '']) => [name, value]));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return {};
    throw error;
  }
}
