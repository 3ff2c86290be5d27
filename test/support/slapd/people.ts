import { type Attributes, BASE, type TestSlapd } from './slapd.ts';

export const personDn = (name: string) => `uid=${name},ou=people,${BASE}`;
export const groupDn = (tool: string) => `cn=tools.${tool},ou=servicegroups,${BASE}`;
export const accountDn = (tool: string) => `uid=tools.${tool},ou=people,ou=servicegroups,${BASE}`;

/** Attributes, plus keys and a password. */
export type Account = Attributes & { readonly keys?: readonly string[]; readonly password?: string };

/** Adds a person as Toolforge's LDAP describes one. */
export async function addPerson(
  slapd: Pick<TestSlapd, 'add'>,
  name: string,
  { keys = [], password, ...more }: Account = {},
): Promise<void> {
  await slapd.add(personDn(name), {
    objectClass: ['inetOrgPerson', 'posixAccount', 'shadowAccount', 'ldapPublicKey'],
    cn: `${name} of the wiki`,
    sn: name,
    uidNumber: '100000',
    gidNumber: '500',
    homeDirectory: `/home/${Buffer.from(name).toString('hex')}`,
    loginShell: '/bin/bash',
    ...(keys.length === 0 ? {} : { sshPublicKey: [...keys] }),
    ...(password === undefined ? {} : { userPassword: password }),
    ...more,
  });
}

/** Adds the group of a tool, as in Toolforge's LDAP. */
export async function addTool(
  slapd: Pick<TestSlapd, 'add'>,
  name: string,
  members: readonly string[],
  more: Attributes = {},
): Promise<void> {
  await slapd.add(groupDn(name), {
    objectClass: ['groupOfNames', 'posixGroup'],
    cn: `tools.${name}`,
    gidNumber: '50000',
    member: [...members],
    ...more,
  });
}

/** Adds the account of a tool, as in Toolforge's LDAP. */
export async function addAccount(
  slapd: Pick<TestSlapd, 'add'>,
  tool: string,
  { keys = [], password, ...more }: Account = {},
): Promise<void> {
  await slapd.add(accountDn(tool), {
    objectClass: ['account', 'posixAccount', 'shadowAccount', 'ldapPublicKey'],
    cn: `tools.${tool}`,
    uidNumber: '50000',
    gidNumber: '50000',
    homeDirectory: `/data/project/${tool}`,
    loginShell: '/bin/bash',
    ...(keys.length === 0 ? {} : { sshPublicKey: [...keys] }),
    ...(password === undefined ? {} : { userPassword: password }),
    ...more,
  });
}
