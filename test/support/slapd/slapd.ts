import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'ldapts';
import { freePort } from '../http/free-port.ts';
import { until } from '../server.ts';
import { type Certificate, TestAuthority } from './certificates.ts';

const here = import.meta.dirname;
export const BASE = 'dc=wikimedia,dc=org';
export const READER = `cn=reader,ou=profile,${BASE}`;
export const READER_PASSWORD = 'reads everything';
export const ADMIN = `cn=admin,${BASE}`;
export const ADMIN_PASSWORD = 'writes everything';

export type Attributes = Readonly<Record<string, string | readonly string[]>>;

/**
 * A real slapd on free ports of 127.0.0.1, with Toolforge's tree, schemas and password policy. Only the account
 * `READER` may read entries. The slapd serves ldap:// (with StartTLS) and ldaps://.
 */
export class TestSlapd implements AsyncDisposable {
  readonly folder: string;
  readonly authority: TestAuthority;
  readonly port: number;
  readonly tlsPort: number;
  #child: ChildProcess | null = null;

  private constructor(folder: string, authority: TestAuthority, ports: readonly [number, number]) {
    this.folder = folder;
    this.authority = authority;
    [this.port, this.tlsPort] = ports;
  }

  static async start(): Promise<TestSlapd> {
    const folder = await mkdtemp(join(tmpdir(), 'slapd-'));
    // Debian's AppArmor profile confines /usr/sbin/slapd to /var/lib/ldap, but not a copy.
    await copyFile('/usr/sbin/slapd', join(folder, 'slapd'));
    await chmod(join(folder, 'slapd'), 0o755);
    await mkdir(join(folder, 'data'));
    const authority = await TestAuthority.create(folder);
    const slapd = new TestSlapd(folder, authority, [await freePort(), await freePort()]);
    await slapd.present(await authority.issue('slapd', 'DNS:localhost,IP:127.0.0.1'));
    await writeFile(join(folder, 'reader-password'), `${READER_PASSWORD}\n`, { mode: 0o600 });
    await slapd.boot();
    await slapd.edit(plantTree);
    return slapd;
  }

  /** Sets the certificate that slapd uses after its next start. */
  async present(certificate: Certificate): Promise<void> {
    await writeFile(
      join(this.folder, 'slapd.conf'),
      slapdConfiguration({
        schemas: here,
        data: join(this.folder, 'data'),
        ca: this.authority.ca,
        certificate,
      }),
    );
  }

  /** Starts slapd. A slapd that is started after `stop` keeps its ports and content. */
  async boot(): Promise<void> {
    const urls = `ldap://127.0.0.1:${this.port}/ ldaps://127.0.0.1:${this.tlsPort}/`;
    const child = spawn(
      join(this.folder, 'slapd'),
      ['-d', '0', '-h', urls, '-f', join(this.folder, 'slapd.conf')],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#child = child;
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`slapd ended at once: ${said}`);
      return await accepts(this.port);
    }, 'slapd listens');
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    await gone;
  }

  /** Makes slapd accept connections but answer nothing until `wake`. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  wake(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Runs `work` with a client that is logged in as slapd's administrator. */
  async edit<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ url: `ldap://127.0.0.1:${this.port}`, timeout: 10_000 });
    try {
      await client.bind(ADMIN, ADMIN_PASSWORD);
      return await work(client);
    } finally {
      await client.unbind();
    }
  }

  async add(dn: string, attributes: Attributes): Promise<void> {
    await this.edit((client) => client.add(dn, attributes as Record<string, string | string[]>));
  }

  /** Removes all people, tools and tools' accounts. */
  async clear(): Promise<void> {
    await this.edit(async (client) => {
      for (const base of [
        `ou=people,ou=servicegroups,${BASE}`,
        `ou=servicegroups,${BASE}`,
        `ou=people,${BASE}`,
      ]) {
        const { searchEntries } = await client.search(base, {
          scope: 'one',
          attributes: ['1.1'],
          filter: '(!(objectClass=organizationalUnit))',
        });
        await Promise.all(searchEntries.map(({ dn }) => client.del(dn)));
      }
    });
  }

  /** The settings of a server that uses this slapd over ldaps. */
  get environment(): Record<string, string> {
    return {
      TOOLFORGE_PUSH_DIRECTORY: 'ldap',
      TOOLFORGE_PUSH_LDAP_SERVERS: `ldaps://127.0.0.1:${this.tlsPort}`,
      TOOLFORGE_PUSH_LDAP_CA: this.authority.ca,
      TOOLFORGE_PUSH_LDAP_BIND_DN: READER,
      TOOLFORGE_PUSH_LDAP_BIND_PASSWORD_FILE: join(this.folder, 'reader-password'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Adds Toolforge's tree with the password policies. The tree has no account except `READER`. */
export async function plantTree(client: Client): Promise<void> {
  await client.add(BASE, { objectClass: ['dcObject', 'organization'], dc: 'wikimedia', o: 'Test' });
  for (const ou of ['profile', 'people', 'groups', 'ppolicies', 'servicegroups']) {
    await client.add(`ou=${ou},${BASE}`, { objectClass: 'organizationalUnit', ou });
  }
  await client.add(`ou=people,ou=servicegroups,${BASE}`, {
    objectClass: 'organizationalUnit',
    ou: 'people',
  });
  const policy = { objectClass: ['device', 'pwdPolicy'], pwdAttribute: 'userPassword' };
  await client.add(`cn=default,ou=ppolicies,${BASE}`, {
    ...policy,
    cn: 'default',
    pwdLockout: 'TRUE',
    pwdMaxFailure: '1000',
  });
  await client.add(`cn=disabled,ou=ppolicies,${BASE}`, { ...policy, cn: 'disabled', pwdLockout: 'TRUE' });
  const reader = { objectClass: ['simpleSecurityObject', 'organizationalRole'], cn: 'reader' };
  await client.add(READER, { ...reader, userPassword: READER_PASSWORD });
}

/** Returns a slapd.conf with Toolforge's schemas. Its access rules let only the account `READER` read. */
export function slapdConfiguration(paths: {
  /** The folder with the schemas that Debian does not have. */
  readonly schemas: string;
  readonly data: string;
  readonly ca: string;
  readonly certificate: Certificate;
}): string {
  const { schemas, data, ca, certificate } = paths;
  return `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include ${schemas}/rfc2307bis.schema
include ${schemas}/ldap-public-key.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
threads 4
TLSCACertificateFile ${ca}
TLSCertificateFile ${certificate.certificate}
TLSCertificateKeyFile ${certificate.key}
TLSVerifyClient never

database mdb
suffix "${BASE}"
rootdn "${ADMIN}"
rootpw "${ADMIN_PASSWORD}"
directory ${data}
maxsize 268435456
envflags nosync
index objectClass,uid,cn,member,sshPublicKey eq,pres
limits dn.exact="${READER}" size=500 size.prtotal=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="${READER}" read by * none
overlay ppolicy
ppolicy_default "cn=default,ou=ppolicies,${BASE}"
`;
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
