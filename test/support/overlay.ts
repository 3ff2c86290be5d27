import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The reason to skip a test in which a tool writes to its own folder: this machine cannot make an overlay in a
 * temporary folder. False if it can.
 */
export const noOverlay: string | false = canOverlay()
  ? false
  : 'this machine cannot make an overlay in a temporary folder';

function canOverlay(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'overlay-'));
  for (const name of ['lower', 'upper', 'work', 'view']) mkdirSync(join(folder, name));
  const options = `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work,userxattr`;
  const words = ['mount', '-it', 'overlay', '-o', options, 'overlay', `${folder}/view`];
  const { status } = spawnSync('unshare', ['--user', '--map-root-user', '--mount', ...words]);
  rmSync(folder, { recursive: true, force: true });
  return status === 0;
}
