import { readFile } from 'node:fs/promises';
import { type Filter, FilterParser } from 'ldapts';
import type { Config } from '../../config.ts';
import { DeployError, systemCode } from '../../core/errors.ts';
import { isLoopback } from '../../core/network/loopback.ts';
import { readDn } from './ldap-dn.ts';

/** How the connection to an LDAP server is protected: TLS from the first byte, TLS after StartTLS, or not at all. */
export type LdapSecurity = 'tls' | 'starttls' | 'plain';

export interface LdapServer {
  readonly host: string;
  readonly port: number;
  readonly security: LdapSecurity;
}

/** The settings of LDAP, checked. */
export interface LdapSettings {
  readonly servers: readonly LdapServer[];
  /** The PEM file with the certificate authorities to trust. Null to trust those that Node.js trusts. */
  readonly caFile: string | null;
  /** The account that searches. Null to search anonymously. */
  readonly account: { readonly dn: string; readonly passwordFile: string } | null;
  readonly people: { readonly base: string; readonly filter: Filter; readonly attribute: string };
  readonly tools: { readonly base: string; readonly filter: Filter; readonly prefix: string };
  /** The distinguished name of the entry above the tools' own accounts. Null if tools have no accounts. */
  readonly toolAccounts: string | null;
  readonly limitMs: number;
  readonly cacheMs: number;
}

export type LdapConfig = Pick<Config, Extract<keyof Config, `ldap_${string}`>>;

/**
 * Checks the settings of LDAP.
 *
 * @throws DeployError `BAD_SETTING`, which names the wrong setting; also if passwords would be sent unencrypted.
 */
export async function readLdapSettings(config: LdapConfig): Promise<LdapSettings> {
  if (config.ldap_servers.length === 0) {
    throw bad('the setting ldap_servers is empty', 'Name a server, for example ldaps://ldap.example.org.');
  }
  if (config.ldap_ca !== null) await readAuthorities(config.ldap_ca);
  return {
    servers: config.ldap_servers.map((url) => readServer(url, config)),
    caFile: config.ldap_ca,
    account: await readAccount(config),
    people: {
      base: checkedDn('ldap_people', config.ldap_people),
      filter: readFilter('ldap_people_filter', config.ldap_people_filter),
      attribute: config.ldap_login_attribute,
    },
    tools: {
      base: checkedDn('ldap_tools', config.ldap_tools),
      filter: readFilter('ldap_tools_filter', config.ldap_tools_filter),
      prefix: config.ldap_tool_prefix,
    },
    toolAccounts:
      config.ldap_tool_accounts === '' ? null : checkedDn('ldap_tool_accounts', config.ldap_tool_accounts),
    limitMs: config.ldap_time,
    cacheMs: config.ldap_cache_time,
  };
}

/**
 * Reads the password of the account that searches in LDAP. Call this for each new connection, so that the operator can
 * change the password without a restart of the server.
 */
export async function readAccountPassword(passwordFile: string): Promise<string> {
  const [password = ''] = (await readText('ldap_bind_password_file', passwordFile)).split(/\r?\n/, 1);
  if (password !== '') return password;
  // Refuse an empty password, because a bind with it succeeds, but as anonymous: RFC 4513 section 5.1.2.
  throw bad(
    `the file ${passwordFile} of the setting ldap_bind_password_file has an empty first line`,
    'Write the password into the first line of this file.',
  );
}

async function readAccount(config: LdapConfig): Promise<LdapSettings['account']> {
  const { ldap_bind_dn: dn, ldap_bind_password_file: passwordFile } = config;
  if (dn === '' && passwordFile === null) return null;
  if (dn === '' || passwordFile === null) {
    throw bad(
      'only one of the settings ldap_bind_dn and ldap_bind_password_file is set',
      'Set both. To search anonymously, set neither.',
    );
  }
  await readAccountPassword(passwordFile);
  return { dn: checkedDn('ldap_bind_dn', dn), passwordFile };
}

function readServer(text: string, config: LdapConfig): LdapServer {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isBare = url !== null && ['', '/'].includes(url.pathname) && url.search === '' && url.username === '';
  const scheme = url?.protocol;
  if (url === null || !isBare || url.hostname === '' || (scheme !== 'ldap:' && scheme !== 'ldaps:')) {
    throw bad(
      `the setting ldap_servers has ${JSON.stringify(text)}, which is not the address of an LDAP server`,
      'Write ldaps://HOST or ldap://HOST, with or without :PORT.',
    );
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (scheme === 'ldaps:') return { host, port: Number(url.port || 636), security: 'tls' };
  const port = Number(url.port || 389);
  if (config.ldap_starttls) return { host, port, security: 'starttls' };
  if (isLoopback(host) || config.ldap_plain) return { host, port, security: 'plain' };
  throw bad(
    `passwords would go unencrypted to ${text}`,
    'Use ldaps:// or ldap_starttls: true. If passwords may go unencrypted, set ldap_plain: true.',
  );
}

function readFilter(setting: string, text: string): Filter {
  try {
    return FilterParser.parseString(text);
  } catch (cause) {
    throw bad(
      `the setting ${setting} is ${JSON.stringify(text)}, which is no LDAP filter`,
      'Write a filter such as (objectClass=posixAccount).',
      cause,
    );
  }
}

function checkedDn(setting: string, text: string): string {
  if (readDn(text) !== null) return text;
  throw bad(
    `the setting ${setting} is ${JSON.stringify(text)}, which is not a distinguished name`,
    'Write a distinguished name such as ou=people,dc=example,dc=org.',
  );
}

/**
 * Reads the certificates of the authorities that may sign the certificates of LDAP servers. Call this for each new
 * connection, so that the operator can change the file without a restart of the server.
 *
 * @throws DeployError `BAD_SETTING` if the file cannot be read or has no certificate. An empty file must not pass,
 * because TLS would then trust the authorities that Node.js trusts.
 */
export async function readAuthorities(path: string): Promise<string> {
  const text = await readText('ldap_ca', path);
  if (/^-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/m.test(text)) return text;
  throw bad(
    `the file ${path} of the setting ldap_ca holds no certificate in PEM form`,
    'Name a file with lines -----BEGIN CERTIFICATE-----.',
  );
}

async function readText(setting: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw bad(
      `the file ${path} of the setting ${setting} cannot be read (${systemCode(cause) ?? 'unknown error'})`,
      'Check the path, and whether the server may read the file.',
      cause,
    );
  }
}

function bad(message: string, hint: string, cause?: unknown): DeployError {
  return new DeployError('BAD_SETTING', message, hint, { cause });
}
