import { join } from 'node:path';
import type { Directory } from './auth/directory.ts';
import type { Config } from './config.ts';
import type { Log } from './core/log.ts';
import { type FirstStart, firstStart, isThere } from './first-start.ts';

export interface ChosenDirectory {
  readonly directory: Directory;
  /**
   * Makes the directory of a first start; null where there was one before. Late, right before its password is shown:
   * a start that fails or is ended has made none.
   */
  makeFirst(): Promise<FirstStart | null>;
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
      return {
        directory: new FileDirectory(path),
        makeFirst: () => firstStart({ directoryPath: path, ...owner }),
        countPeople: async () =>
          (await isThere(path)) ? (await new DirectoryFile(path).list()).users.size : 1,
      };
    }
    case 'ldap': {
      const { openLdapDirectory, warnWhereSilent } = await import('./auth/ldap-directory.ts');
      const directory = await openLdapDirectory(config, log);
      void warnWhereSilent(directory, log);
      return { directory, makeFirst: async () => null, countPeople: async () => 'many' };
    }
  }
  config.directory satisfies never;
  throw new Error('unreachable');
}
