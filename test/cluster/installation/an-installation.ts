import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { registryEnvironment } from '../../build/a-builder.ts';
import { type Run, run, until } from '../../support/server.ts';
import { TestAuthority } from '../../support/slapd/certificates.ts';
import { makeKey } from '../../support/slapd/directory.ts';
import { READER, READER_PASSWORD } from '../../support/slapd/slapd.ts';
import type { Remote } from '../../support/work-tree.ts';
import { registryHost } from '../images.ts';
import { builderWithScript, serverImage } from './images.ts';
import { apply, kubectl, namespace, OURS } from './kubectl.ts';
import { hostVolume, rightsIn, writeOverlay } from './overlay.ts';
import { SlapdPod } from './slapd-pod.ts';
import { TlsFront } from './tls-front.ts';

const HOME = 'toolforge-push';
const POD = 'toolforge-push-0';
const DOMAIN = 'tools.test';
const ingress = new URL(process.env['CLUSTER_INGRESS'] ?? 'http://127.0.0.1:8090');

/**
 * The server in the cluster as its manifests install it, with what an operator and the platform add: people in a slapd,
 * namespaces of tools, a volume, and what ends TLS.
 */
export class Installation implements AsyncDisposable, Remote {
  readonly folder: string;
  readonly user = 'alice';
  readonly password = 'correct-horse';
  readonly publicKey: string;
  readonly slapd: SlapdPod;
  /** All lines of the log, of servers that were killed too. */
  readonly log: string[] = [];
  readonly #authority: TestAuthority;
  readonly #front: TlsFront;
  readonly #tools: readonly string[];
  #address = '';

  private constructor(made: {
    folder: string;
    slapd: SlapdPod;
    authority: TestAuthority;
    front: TlsFront;
    tools: readonly string[];
  }) {
    this.folder = made.folder;
    this.slapd = made.slapd;
    this.#authority = made.authority;
    this.#front = made.front;
    this.#tools = made.tools;
    this.publicKey = makeKey(made.folder, 'id_ed25519');
  }

  /** @param tools - Those that the platform knows: each has a namespace. */
  static async open(tools: readonly string[]): Promise<Installation> {
    await removeObjects(tools);
    const folder = await mkdtemp(join(tmpdir(), 'installation-'));
    const [image, builder] = [await serverImage(), await builderWithScript()];
    const authority = await TestAuthority.create(folder);
    const front = await TlsFront.listen(await authority.issue('front', 'IP:127.0.0.1'));
    const slapd = await SlapdPod.start(authority);
    const installation = new Installation({ folder, slapd, authority, front, tools });
    try {
      await installation.#install(image, builder);
    } catch (error) {
      await installation[Symbol.asyncDispose]();
      throw error;
    }
    return installation;
  }

  async #install(image: string, builder: string): Promise<void> {
    const password = join(this.folder, 'ldap-password');
    await writeFile(password, `${READER_PASSWORD}\n`);
    const secrets = '/etc/toolforge-push-secrets';
    const overlay = await writeOverlay(this.folder, {
      image,
      secrets: { 'ldap-password': password, 'ldap-ca.pem': this.#authority.ca },
      settings: {
        public_url: `https://127.0.0.1:${this.#front.port}`,
        domain: DOMAIN,
        ingress_url: `http://TOOL.DOMAIN:${ingress.port}/`,
        trusted_proxies: this.#front.addresses,
        registry: `${registryHost}/test-installation`,
        registry_plain_http: [registryHost],
        builder_image: builder,
        build_environment: registryEnvironment,
        ldap_servers: this.slapd.url,
        ldap_ca: `${secrets}/ldap-ca.pem`,
        ldap_bind_dn: READER,
        ldap_bind_password_file: `${secrets}/ldap-password`,
        ldap_cache_time: 1,
      },
    });
    await apply(await hostVolume(HOME, join(this.folder, 'volume')));
    await apply(...this.#tools.map((tool) => namespace(namespaceOf(tool))));
    await kubectl('apply', '-k', overlay);
    await apply(...this.#tools.map((tool) => rightsIn(namespaceOf(tool))));
    await this.untilReady('');
    const address = ['get', 'service', HOME, '-o', 'jsonpath={.spec.clusterIP}'];
    this.#address = await kubectl('-n', HOME, ...address);
    this.#front.behind = { host: this.#address, port: 8080 };
    await this.#untilServed();
  }

  /** The node learns of a Service's endpoints a little after they are there. */
  async #untilServed(): Promise<void> {
    const health = new URL(`http://${this.#address}:8080/healthz`);
    const isThere = async () => (await ask(health, {}).catch(() => null))?.status === 200;
    await until(isThere, 'the Service leads to the server', 90_000);
  }

  get clientEnvironment(): Record<string, string> {
    const knownHosts = `UserKnownHostsFile=${join(this.folder, 'known_hosts')}`;
    return {
      PATH: process.env['PATH'] ?? '',
      HOME: this.folder,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_AUTHOR_NAME: 'Test',
      GIT_AUTHOR_EMAIL: 'test@example.org',
      GIT_COMMITTER_NAME: 'Test',
      GIT_COMMITTER_EMAIL: 'test@example.org',
      GIT_SSL_CAINFO: this.#authority.ca,
      // The first key that is shown is remembered; another one ends the connection.
      GIT_SSH_COMMAND: `ssh -F none -i ${join(this.folder, 'id_ed25519')} -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o ${knownHosts} -o LogLevel=ERROR`,
    };
  }

  remote(door: 'ssh' | 'http' | 'plain http', tool: string): string {
    const login = `${this.user}:${this.password}`;
    if (door === 'ssh') return `ssh://${this.user}@${this.#address}/${tool}.git`;
    if (door === 'http') return `https://${login}@127.0.0.1:${this.#front.port}/${tool}.git`;
    return `http://${login}@${this.#address}:8080/${tool}.git`;
  }

  /** `ssh USER@HOST words`. */
  async command(...words: string[]): Promise<Run> {
    const [, ...ssh] = (this.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ');
    const target = [`${this.user}@${this.#address}`, words.join(' ')];
    return await run('ssh', [...ssh, ...target], { env: this.clientEnvironment });
  }

  /** What the tool answers through the ingress controller. */
  async get(tool: string): Promise<{ status: number; body: string }> {
    return await ask(ingress, { host: `${tool}.${DOMAIN}` });
  }

  /** Kills the server at once, and waits until it is there again. */
  async kill(): Promise<void> {
    await this.#keepLog();
    const uid = await this.#uid();
    await kubectl('-n', HOME, 'delete', 'pod', POD, '--grace-period=0', '--force', '--wait=false');
    await this.untilReady(uid);
    await this.#untilServed();
  }

  /** Ends the server as a drain of its node does. @throws where something forbids it. */
  async evict(): Promise<void> {
    await this.#keepLog();
    const uid = await this.#uid();
    const eviction = join(this.folder, 'eviction.json');
    await writeFile(
      eviction,
      JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: POD, namespace: HOME } }),
    );
    const path = `/api/v1/namespaces/${HOME}/pods/${POD}/eviction`;
    await kubectl('create', '--raw', path, '-f', eviction);
    await this.untilReady(uid);
    await this.#untilServed();
  }

  /** @param before - The pod that it is not; empty = any will do. */
  async untilReady(before: string): Promise<void> {
    const ready = 'jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}';
    await until(
      async () => {
        const { stdout } = await run('kubectl', ['-n', HOME, 'get', 'pod', POD, '-o', ready]);
        const [uid = '', isReady] = stdout.split(' ');
        return uid !== '' && uid !== before && isReady === 'True';
      },
      'the server is ready',
      120_000,
    ).catch(async (error: Error) => {
      const about = await run('kubectl', ['-n', HOME, 'describe', 'pod', POD]);
      const log = await run('kubectl', ['-n', HOME, 'logs', POD, '--tail=30']);
      throw new Error(`${error.message}\n${about.stdout.slice(-3000)}\n${log.stdout}\n${log.stderr}`);
    });
  }

  /** Lines of all servers up to now. */
  async wholeLog(): Promise<string[]> {
    await this.#keepLog();
    return this.log;
  }

  async #keepLog(): Promise<void> {
    this.log.push(...(await kubectl('-n', HOME, 'logs', POD)).split('\n'));
  }

  async #uid(): Promise<string> {
    return await kubectl('-n', HOME, 'get', 'pod', POD, '-o', 'jsonpath={.metadata.uid}');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#front[Symbol.asyncDispose]();
    await removeObjects(this.#tools);
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Asks on a connection of its own, which takes at most 5 s. */
async function ask(url: URL, headers: Record<string, string>): Promise<{ status: number; body: string }> {
  const asked = request(url, { headers, agent: false, signal: AbortSignal.timeout(5000) }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}

export function namespaceOf(tool: string): string {
  return `tool-${tool}`;
}

/** Removes what this test has installed. @throws where it is somebody else's. */
async function removeObjects(tools: readonly string[]): Promise<void> {
  const names = [HOME, `${HOME}-builds`, SlapdPod.namespace, ...tools.map(namespaceOf)];
  const found = await kubectl('get', 'namespaces', '--ignore-not-found', '-o', 'name', ...names);
  const ours = await kubectl('get', 'namespaces', '-l', OURS, '-o', 'name');
  const others = found.split('\n').filter((name) => name !== '' && !ours.split('\n').includes(name));
  if (others.length > 0)
    throw new Error(`${others.join(', ')} is not this test's: it installs a server of its own`);
  const gone = ['--ignore-not-found', '--timeout=120s'];
  await kubectl('delete', 'namespaces', ...gone, ...names);
  await kubectl('delete', 'persistentvolume', ...gone, HOME);
  const rights = ['toolforge-push-tools', 'toolforge-push-looks'];
  await kubectl('delete', 'clusterrole', ...gone, ...rights);
  await kubectl('delete', 'clusterrolebinding', ...gone, ...rights);
}
