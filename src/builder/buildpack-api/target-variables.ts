import { readFile } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { systemCode } from '../../core/errors.ts';
import type { Environment } from './layer-environment.ts';

/** The names of processors in Go, which the Buildpack API uses. */
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
