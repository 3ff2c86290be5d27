import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

// The files and folders that git expects in a bare repository: gitrepository-layout(5).

/**
 * The entries that every git repository has. git does not recognise a folder as a repository if one of these entries is
 * missing.
 */
export const PARTS = ['HEAD', 'refs', 'objects'] as const;

/**
 * The configuration file that `git init --bare` writes. The server gives git all other settings in environment
 * variables, such as `GIT_CONFIG_KEY_0`.
 */
export const CONFIG = '[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n';

// The content of info/attributes. This file takes precedence over the .gitattributes of a commit (gitattributes(5)), so
// the attributes of a commit change no file of a checkout.
const ATTRIBUTES = '* -text -eol -ident -filter -working-tree-encoding -export-subst -export-ignore\n';

/**
 * Creates `refs` and `objects` in a repository if they are missing: a backup or a disk repair may have dropped empty
 * folders.
 */
export async function makeFolders(folder: string): Promise<void> {
  for (const part of ['refs', 'objects']) await mkdir(join(folder, part), { recursive: true, mode: 0o700 });
}

/** Writes a new HEAD, which names the deploy branch. */
export async function makeHead(folder: string, deployBranch: string): Promise<void> {
  await replaceFile(join(folder, 'HEAD'), `ref: refs/heads/${deployBranch}\n`);
}

/**
 * Writes the file `info/attributes` of a repository. It overrides the `.gitattributes` of every commit, so no attribute
 * changes a file that git checks out or archives.
 */
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

/** Creates or replaces a file of a repository in one step. Only its owner can read it. */
export async function replaceFile(path: string, text: string): Promise<void> {
  // Two pushes may write the same file at the same time, so each push writes its own draft.
  const draft = `${path}.${randomUUID()}.new`;
  try {
    {
      await using file = await open(draft, 'wx', 0o600);
      await file.writeFile(text);
      await file.sync();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
