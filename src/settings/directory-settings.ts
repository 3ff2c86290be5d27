import { flag, list, oneOf, optionalFile, type Setting, seconds, text } from './setting-kinds.ts';

/** Settings of the user directory, and of LDAP. */
export const directorySettings = {
  directory: [
    oneOf('file', 'ldap'),
    'file',
    'The user directory. `file`: directory.yaml in the data folder. `ldap`: the servers of `ldap_servers` (docs/ldap.md).',
  ],
  ldap_servers: [
    list,
    '',
    'The LDAP servers, each as `ldaps://HOST` or `ldap://HOST:PORT`. A question goes first to the server that answered last, and at the start to the first of this list.',
  ],
  ldap_starttls: [flag, 'true', 'Use StartTLS with `ldap://` servers.'],
  ldap_plain: [
    flag,
    'false',
    'Send passwords unencrypted to `ldap://` servers on other machines, if `ldap_starttls` is off.',
  ],
  ldap_ca: [
    optionalFile,
    '',
    'PEM file with the certificate authorities for LDAP. If empty, the certificate authorities that Node.js trusts.',
  ],
  ldap_bind_dn: [
    text,
    '',
    'The DN of the account with which the server searches in LDAP. If empty, the server searches anonymously.',
  ],
  ldap_bind_password_file: [optionalFile, '', 'File whose first line is the password of `ldap_bind_dn`.'],
  ldap_people: [
    text.min(1, 'not empty'),
    'ou=people,dc=wikimedia,dc=org',
    'The DN of the LDAP entry that has the entries of people directly below it.',
  ],
  ldap_people_filter: [
    text.min(1, 'not empty'),
    '(objectClass=posixAccount)',
    'The LDAP filter that selects people among the entries below `ldap_people`.',
  ],
  ldap_login_attribute: [
    text.regex(/^[A-Za-z][-A-Za-z0-9]{0,63}$/, 'the name of an attribute, such as uid'),
    'uid',
    'The attribute that holds a person’s user name.',
  ],
  ldap_tools: [
    text.min(1, 'not empty'),
    'ou=servicegroups,dc=wikimedia,dc=org',
    'The DN of the LDAP entry that has the groups of the tools directly below it. The attribute `member` of a group lists the maintainers.',
  ],
  ldap_tools_filter: [
    text.min(1, 'not empty'),
    '(objectClass=posixGroup)',
    'The LDAP filter that selects tools among the entries below `ldap_tools`.',
  ],
  ldap_tool_prefix: [
    text.regex(/^[-_.a-z0-9]{0,64}$/, 'lower-case letters, digits, dots, - and _'),
    'tools.',
    'The prefix in the name (`cn`) of a tool’s group, before the name of the tool.',
  ],
  ldap_tool_accounts: [
    text,
    'ou=people,ou=servicegroups,dc=wikimedia,dc=org',
    'The DN of the LDAP entry that has the tools’ own accounts directly below it. If empty, tools have no accounts.',
  ],
  ldap_time: [
    seconds(1, 5),
    '5',
    'Seconds within which LDAP must answer one question. If several servers are tried, they share this time.',
  ],
  ldap_cache_time: [
    seconds(0, 60),
    '60',
    'Seconds that a positive answer from LDAP is cached. Refusals are never cached.',
  ],
} as const satisfies Record<string, Setting>;
