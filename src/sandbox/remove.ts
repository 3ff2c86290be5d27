import { rm } from 'node:fs/promises';
import { execa } from 'execa';
import { systemCode } from '../core/errors.ts';

const PATH = { PATH: '/usr/local/bin:/usr/bin:/bin' };
const BY_PROGRAM = new Set(['EACCES', 'EPERM', 'ENOTEMPTY', 'ENAMETOOLONG']);

/**
 * Removes a folder that a tool could write to, whatever is in it: folders that are closed against their owner, and
 * trees so deep that no path reaches their end. No process of the tool may be at work in it.
 */
export async function removeTree(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    if (!BY_PROGRAM.has(systemCode(error) ?? '')) throw error;
    const options = { env: PATH, extendEnv: false, stdin: 'ignore', reject: false } as const;
    await execa('chmod', ['-R', 'u+rwX', '--', folder], options);
    await execa('rm', ['-rf', '--', folder], { ...options, reject: true });
  }
}
