import { join } from 'node:path';
import type { Directory } from './auth/directory.ts';
import { type Maintainers, maintainersInLdap } from './auth/maintainers.ts';
import type { Config } from './config.ts';
import type { Log } from './core/log/log.ts';
import { type FirstStart, firstStart, isThere } from './first-start.ts';

export interface ChosenDirectory {
  readonly directory: Directory;
  readonly maintainers: Maintainers;
  /**
   * Makes the user directory at a first start. Returns null if it exists already, and for LDAP. Called right before the
   * first password is shown, so that a start that fails earlier leaves no directory behind.
   */
  makeFirst(): Promise<FirstStart | null>;
  /**
   * How many users the directory has. 1 while directory.yaml is missing, because `makeFirst` will make one user.
   * `'many'` for LDAP, because the server does not count the users in LDAP.
   */
  countPeople(): Promise<number | 'many'>;
}

/**
 * Opens the user directory that the setting `directory` chooses. Loads the LDAP client only if it is needed. With LDAP,
 * the method `makeFirst` of the result makes no file and no user.
 *
 * @throws DeployError `BAD_SETTING` if a setting of LDAP is missing or wrong.
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
        import('./auth/file/file-directory.ts'),
        import('./auth/file/directory-yaml.ts'),
      ]);
      const path = join(config.data, 'directory.yaml');
      return {
        directory: new FileDirectory(path),
        maintainers: new DirectoryFile(path),
        makeFirst: () => firstStart({ directoryPath: path, ...owner }),
        countPeople: async () =>
          (await isThere(path)) ? (await new DirectoryFile(path).list()).users.size : 1,
      };
    }
    case 'ldap': {
      const { openLdapDirectory, warnWhereSilent } = await import('./auth/ldap/ldap-directory.ts');
      const directory = await openLdapDirectory(config, log);
      void warnWhereSilent(directory, log);
      const maintainers = maintainersInLdap(config);
      return { directory, maintainers, makeFirst: async () => null, countPeople: async () => 'many' };
    }
  }
  config.directory satisfies never;
  throw new Error('unreachable');
}
