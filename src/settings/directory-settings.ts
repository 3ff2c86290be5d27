import { flag, list, oneOf, optionalFile, type Setting, seconds, text } from './setting-kinds.ts';

/** Settings of the user directory, and of LDAP. */
export const directorySettings = {
  directory: [
    oneOf('file', 'ldap'),
    'file',
    'The user directory. `file`: directory.yaml in the data folder. `ldap`: the servers of `ldap_servers` (docs/ldap.md).',
  ],
  ldap_servers: [list, '', 'LDAP servers in order of preference, `ldaps://HOST` or `ldap://HOST:PORT`.'],
  ldap_starttls: [flag, 'true', 'Use StartTLS with servers of the form `ldap://`.'],
  ldap_plain: [
    flag,
    'false',
    'Send passwords unencrypted to `ldap://` servers on other machines, if `ldap_starttls` is off.',
  ],
  ldap_ca: [
    optionalFile,
    '',
    'PEM file with the certificate authorities for LDAP; empty: those that Node.js trusts.',
  ],
  ldap_bind_dn: [text, '', 'The account that searches; empty: anonymous.'],
  ldap_bind_password_file: [optionalFile, '', 'File with the password of `ldap_bind_dn`, in its first line.'],
  ldap_people: [
    text.min(1, 'not empty'),
    'ou=people,dc=wikimedia,dc=org',
    'People are directly under this entry.',
  ],
  ldap_people_filter: [
    text.min(1, 'not empty'),
    '(objectClass=posixAccount)',
    'Selects the entries below `ldap_people` that are people.',
  ],
  ldap_login_attribute: [
    text.regex(/^[A-Za-z][-A-Za-z0-9]{0,63}$/, 'the name of an attribute, as uid'),
    'uid',
    'The attribute that holds a person’s user name.',
  ],
  ldap_tools: [
    text.min(1, 'not empty'),
    'ou=servicegroups,dc=wikimedia,dc=org',
    'The groups that are tools are directly under this entry; `member` holds the maintainers.',
  ],
  ldap_tools_filter: [
    text.min(1, 'not empty'),
    '(objectClass=posixGroup)',
    'Selects the entries below `ldap_tools` that are tools.',
  ],
  ldap_tool_prefix: [
    text.regex(/^[-_.a-z0-9]{0,64}$/, 'lower-case letters, digits, dots, - and _'),
    'tools.',
    'The prefix of the name (`cn`) of a tool’s group.',
  ],
  ldap_tool_accounts: [
    text,
    'ou=people,ou=servicegroups,dc=wikimedia,dc=org',
    'The tools’ own accounts are directly under this entry; empty: they have none.',
  ],
  ldap_time: [
    seconds(1, 5),
    '5',
    'Seconds for an answer from LDAP, together for all servers that are tried.',
  ],
  ldap_cache_time: [
    seconds(0, 60),
    '60',
    'Seconds that an answer from LDAP is cached. Refusals are never cached.',
  ],
  ldap_lockout_time: [
    seconds(0, 31_536_000),
    '0',
    'Seconds that `pwdAccountLockedTime` locks an account, like `pwdLockoutDuration` of the password policy; 0: until the attribute is removed.',
  ],
} as const satisfies Record<string, Setting>;
