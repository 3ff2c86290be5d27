import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Directory } from './auth/directory.ts';
import type { Config } from './config.ts';
import type { Log } from './core/log.ts';
import { type FirstStart, firstStart } from './first-start.ts';

export interface ChosenDirectory {
  readonly directory: Directory;
  /** What the first start made; null where there was a directory before. */
  readonly first: FirstStart | null;
  /** Takes back what the first start made, for one that fails before its password was shown. */
  undoFirst(): Promise<void>;
  /** How many people can log in. */
  countPeople(): Promise<number | 'many'>;
}

/**
 * The directory of the setting `directory`. What speaks LDAP is loaded only where it is asked for, and then no
 * file and no user of this machine is made.
 *
 * @throws DeployError `BAD_SETTING`
 */
export async function chooseDirectory(options: {
  readonly config: Config;
  readonly owner: { readonly userName: string; readonly homeFolder: string };
  readonly log: Log;
}): Promise<ChosenDirectory> {
  const { config, owner, log } = options;
  switch (config.directory) {
    case 'file': {
      const [{ FileDirectory }, { DirectoryFile }] = await Promise.all([
        import('./auth/file-directory.ts'),
        import('./auth/directory-file.ts'),
      ]);
      const path = join(config.data, 'directory.yaml');
      const first = await firstStart({ directoryPath: path, ...owner });
      return {
        directory: new FileDirectory(path),
        first,
        undoFirst: async () => {
          if (first !== null) await rm(path, { force: true });
        },
        countPeople: async () => (await new DirectoryFile(path).list()).users.size,
      };
    }
    case 'ldap': {
      const { openLdapDirectory, warnWhereSilent } = await import('./auth/ldap-directory.ts');
      const directory = await openLdapDirectory(config, log);
      void warnWhereSilent(directory, log);
      return { directory, first: null, undoFirst: async () => {}, countPeople: async () => 'many' };
    }
  }
  config.directory satisfies never;
  throw new Error('unreachable');
}
