import type { Config } from '../config.ts';
import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';

/** Changes who maintains a tool. A method that throws a DeployError has changed nothing. */
export interface Maintainers {
  /**
   * Adds a maintainer to a tool.
   *
   * @returns false if the user maintains the tool already.
   * @throws DeployError `NO_USER` if the user directory lacks the user or has disabled them; `NO_TOOL` if it lacks the
   * tool; `BAD_USER_NAME` if the name cannot be a user name; `FILE_BUSY` if too many other changes wait;
   * `DIRECTORY_UNAVAILABLE` if the file cannot be read or changed; `KEPT_IN_LDAP` if the users are in LDAP, which this
   * server cannot change.
   */
  addMaintainer(tool: ToolName, user: string): Promise<boolean>;
  /**
   * Removes a maintainer from a tool.
   *
   * @throws DeployError `NOT_A_MAINTAINER` if the user does not maintain the tool; `LAST_MAINTAINER` if no other user
   * who is not disabled does; `BAD_USER_NAME`, `NO_TOOL`, `FILE_BUSY`, `DIRECTORY_UNAVAILABLE` and `KEPT_IN_LDAP` as
   * `addMaintainer`.
   */
  removeMaintainer(tool: ToolName, user: string): Promise<void>;
}

/** Returns `Maintainers` for LDAP: refuses every change, and says which LDAP group has the maintainers of the tool. */
export function maintainersInLdap({
  ldap_tools,
  ldap_tool_prefix,
}: Pick<Config, 'ldap_tools' | 'ldap_tool_prefix'>): Maintainers {
  const refuse = async (tool: ToolName): Promise<never> => {
    throw new DeployError(
      'KEPT_IN_LDAP',
      `the maintainers of ${tool} are the members of an LDAP group, which this server only reads`,
      `Change the group ${ldap_tool_prefix}${tool} below ${ldap_tools}; for Toolforge, use https://toolsadmin.wikimedia.org.`,
    );
  };
  return { addMaintainer: refuse, removeMaintainer: refuse };
}
