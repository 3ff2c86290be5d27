import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The configuration file that `git init --bare` writes. The server gives git all other settings in environment
 * variables, such as `GIT_CONFIG_KEY_0`.
 */
export const CONFIG = '[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n';

// The content of info/attributes. This file takes precedence over the .gitattributes of a commit (gitattributes(5)), so
// the attributes of a commit change no file of a checkout.
const ATTRIBUTES = '* -text -eol -ident -filter -working-tree-encoding -export-subst -export-ignore\n';

/** Writes the attributes of a new repository. */
export async function writeAttributes(folder: string): Promise<void> {
  await mkdir(join(folder, 'info'), { recursive: true });
  await writeFile(join(folder, 'info/attributes'), ATTRIBUTES);
}

/** Replaces the file `config` and the folder `info` of a repository by those of a new repository. */
export async function resetSettings(folder: string): Promise<void> {
  for (const name of ['config', 'info']) await rm(join(folder, name), { recursive: true, force: true });
  await writeFile(join(folder, 'config'), CONFIG, { mode: 0o600 });
  await writeAttributes(folder);
}
