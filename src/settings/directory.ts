import { flag, list, oneOf, optionalFile, type Setting, seconds, text } from './kinds.ts';

/** Where people and tools are kept, and how LDAP is asked. */
export const directorySettings = {
  directory: [
    oneOf('file', 'ldap'),
    'file',
    'Where people and tools are kept: `file` is directory.yaml in the data folder; `ldap` the servers of `ldap_servers` (docs/ldap.md).',
  ],
  ldap_servers: [list, '', 'LDAP servers in order of preference, `ldaps://HOST` or `ldap://HOST:PORT`.'],
  ldap_starttls: [flag, 'true', 'Speak StartTLS to servers of the form `ldap://`.'],
  ldap_plain: [
    flag,
    'false',
    'Send passwords unencrypted to `ldap://` servers on other machines, where `ldap_starttls` is off.',
  ],
  ldap_ca: [
    optionalFile,
    '',
    'PEM file of the certificate authorities for LDAP; empty: those that Node.js knows.',
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
    'Which entries there are people.',
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
  ldap_tools_filter: [text.min(1, 'not empty'), '(objectClass=posixGroup)', 'Which entries there are tools.'],
  ldap_tool_prefix: [
    text.regex(/^[-_.a-z0-9]{0,64}$/, 'lower-case letters, digits, dots, - and _'),
    'tools.',
    'What the name (`cn`) of a tool’s group begins with.',
  ],
  ldap_tool_accounts: [
    text,
    'ou=people,ou=servicegroups,dc=wikimedia,dc=org',
    'The tools’ own accounts are directly under this entry; empty: they have none.',
  ],
  ldap_time: [
    seconds(1, 5),
    '5',
    'Seconds that an answer from LDAP may take, over all servers that are tried.',
  ],
  ldap_cache_time: [
    seconds(0, 60),
    '60',
    'Seconds that an answer from LDAP is believed; refusals are never kept.',
  ],
  ldap_lockout_time: [
    seconds(0, 31_536_000),
    '0',
    'Seconds that `pwdAccountLockedTime` locks an account, as `pwdLockoutDuration` of the password policy; 0: until it is taken away.',
  ],
} as const satisfies Record<string, Setting>;
