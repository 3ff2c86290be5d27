import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, chown, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { parse, stringify } from 'yaml';
import { registryEnvironment } from '../../builder/support/a-builder.ts';
import { type Run, run, until } from '../../support/server.ts';
import { TestAuthority } from '../../support/slapd/certificates.ts';
import { makeKey } from '../../support/slapd/directory.ts';
import { READER, READER_PASSWORD } from '../../support/slapd/slapd.ts';
import type { Remote } from '../../support/work-tree.ts';
import { registryHost, storageDriver } from '../images.ts';
import { builderWithScript, buildpacksWithScript, serverImage } from './images.ts';
import { apply, kubectl, OURS } from './kubectl.ts';
import { OperatingPage } from './operating-page.ts';
import { SlapdPod } from './slapd-pod.ts';
import { TlsFront } from './tls-front.ts';

const HOME = 'toolforge-push';
const POD = 'toolforge-push-0';
const DOMAIN = 'tools.test';
const NAMESPACES = "Tools' namespaces, and rights";
const REGISTRY = 'registry.example.org/toolforge';
const root = resolve(import.meta.dirname, '../../..');
const ingress = new URL(process.env['CLUSTER_INGRESS'] ?? 'http://127.0.0.1:8090');

/**
 * The server in the cluster, installed as in docs/operating.md, with people in a slapd. A TLS front stands before its
 * HTTP port, because the ingress controller of this cluster does not do TLS.
 */
export class Installation implements AsyncDisposable, Remote {
  readonly folder: string;
  readonly user = 'alice';
  readonly password = 'correct-horse';
  readonly publicKey: string;
  readonly slapd: SlapdPod;
  /** All lines of the log, including those of killed servers. */
  readonly log: string[] = [];
  readonly #authority: TestAuthority;
  readonly #front: TlsFront;
  readonly #tools: readonly string[];
  readonly #yours: Readonly<Record<string, string>>;
  /** docs/operating.md with the values of this test. */
  readonly page: OperatingPage;
  #address = '';

  private constructor(made: {
    folder: string;
    slapd: SlapdPod;
    authority: TestAuthority;
    front: TlsFront;
    tools: readonly string[];
    yours: Readonly<Record<string, string>>;
    page: OperatingPage;
  }) {
    this.folder = made.folder;
    this.slapd = made.slapd;
    this.#authority = made.authority;
    this.#front = made.front;
    this.#tools = made.tools;
    this.#yours = made.yours;
    this.page = made.page;
    this.publicKey = makeKey(made.folder, 'id_ed25519');
  }

  /** @param tools - The tools on the platform. Each has a namespace. */
  static async open(tools: readonly string[]): Promise<Installation> {
    await removeObjects(tools);
    const folder = await mkdtemp(join(tmpdir(), 'installation-'));
    const authority = await TestAuthority.create(folder);
    const front = await TlsFront.listen(await authority.issue('front', 'IP:127.0.0.1'));
    const slapd = await SlapdPod.start(authority);
    const yours = await values({ folder, authority, tool: tools[0] ?? '' });
    const page = await pageIn(folder, yours);
    const installation = new Installation({ folder, slapd, authority, front, tools, yours, page });
    try {
      await installation.#install();
    } catch (error) {
      await installation[Symbol.asyncDispose]();
      throw error;
    }
    return installation;
  }

  async #install(): Promise<void> {
    const { page, folder } = this;
    await mkdir(join(folder, 'overlay'));
    await symlink(root, join(folder, 'toolforge-push'));
    for (const title of ['Three images', 'A volume', 'An overlay']) await page.walk(title);
    await this.change(this.#settings);
    for (const title of ['Two doors', 'The server', NAMESPACES]) await page.walk(title);
    for (const wikibot of this.#tools.slice(1)) {
      const another = await pageIn(folder, { ...this.#yours, wikibot });
      await another.walk(NAMESPACES, 'kubectl create namespace');
    }
    await this.found();
  }

  /** Finds the address of the installed server, and waits until the server answers. */
  async found(): Promise<void> {
    const address = ['get', 'service', HOME, '-o', 'jsonpath={.spec.clusterIP}'];
    this.#address = await kubectl('-n', HOME, ...address);
    this.#front.behind = { host: this.#address, port: 8080 };
    await this.untilServed();
  }

  get overlay(): string {
    return join(this.folder, 'overlay');
  }

  /** The manifests with an addition to the page's kustomization.yaml. */
  async kustomizeWith(more: string): Promise<string> {
    const other = join(this.folder, 'other-overlay');
    await cp(this.overlay, other, { recursive: true });
    await appendFile(join(other, 'kustomization.yaml'), more);
    return await kubectl('kustomize', other);
  }

  /** Makes a volume for a second server, as a StorageClass would. */
  async secondVolume(): Promise<AsyncDisposable> {
    const name = `${HOME}-1`;
    const volume = parse(await readFile(join(this.overlay, 'volume.yaml'), 'utf8'));
    const path = join(this.folder, 'second-volume');
    await mkdir(path);
    await chown(path, 10_001, 10_001);
    volume.metadata.name = name;
    volume.spec.claimRef.name = `volume-${name}`;
    volume.spec.hostPath.path = path;
    await apply(volume);
    return {
      [Symbol.asyncDispose]: async () => {
        await kubectl('-n', HOME, 'delete', 'pvc', `volume-${name}`, '--ignore-not-found', '--wait=false');
        await kubectl('delete', 'persistentvolume', name, '--ignore-not-found', '--wait=false');
      },
    };
  }

  get #builderImage(): string {
    const tag = /"(.+)"/.exec(this.#yours['newTag: "1"'] ?? '')?.[1];
    return `${this.#yours[REGISTRY]}/toolforge-buildpack-build:${tag}`;
  }

  /** Settings that replace the settings in docs/operating.md. */
  get #settings(): Readonly<Record<string, unknown>> {
    const secrets = '/etc/toolforge-push-secrets';
    return {
      public_url: `https://127.0.0.1:${this.#front.port}`,
      domain: DOMAIN,
      ingress_url: `http://TOOL.DOMAIN:${ingress.port}/`,
      trusted_proxies: this.#front.addresses,
      registry: this.#yours[REGISTRY],
      registry_plain_http: [registryHost],
      builder_image: this.#builderImage,
      build_environment: registryEnvironment,
      ldap_servers: this.slapd.url,
      ldap_ca: `${secrets}/ldap-ca.pem`,
      ldap_bind_dn: READER,
      ldap_bind_password_file: `${secrets}/ldap-password`,
      ldap_cache_time: 1,
    };
  }

  /** Changes settings of the overlay, without applying it. */
  async change(settings: Readonly<Record<string, unknown>>): Promise<void> {
    const file = join(this.overlay, 'settings.yaml');
    const given = parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    await writeFile(file, stringify({ ...given, ...settings }));
  }

  /** Waits until the Service leads to the server. The node learns of a Service's endpoints a little late. */
  async untilServed(): Promise<void> {
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
      // ssh remembers the first host key, and refuses another one.
      GIT_SSH_COMMAND: `ssh -F none -i ${join(this.folder, 'id_ed25519')} -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o ${knownHosts} -o LogLevel=ERROR`,
    };
  }

  remote(door: 'ssh' | 'http' | 'plain http', tool: string): string {
    const login = `${this.user}:${this.password}`;
    if (door === 'ssh') return `ssh://${this.user}@${this.#address}/${tool}.git`;
    if (door === 'http') return `https://${login}@127.0.0.1:${this.#front.port}/${tool}.git`;
    return `http://${login}@${this.#address}:8080/${tool}.git`;
  }

  /** Runs `ssh USER@HOST words`. */
  async command(...words: string[]): Promise<Run> {
    const [, ...ssh] = (this.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ');
    const target = [`${this.user}@${this.#address}`, words.join(' ')];
    return await run('ssh', [...ssh, ...target], { env: this.clientEnvironment });
  }

  /** The tool's answer through the ingress controller. */
  async get(tool: string): Promise<{ status: number; body: string }> {
    return await ask(ingress, { host: `${tool}.${DOMAIN}` });
  }

  /** Kills the server by SIGKILL, so that it ends nothing itself, and waits until it runs again. */
  async kill(): Promise<void> {
    await this.#keepLog();
    const state = async (part: string) =>
      await kubectl('-n', HOME, 'get', 'pod', POD, '-o', `jsonpath={.status.containerStatuses[0].${part}}`);
    const restarts = await state('restartCount');
    // The only child of process 1, which is tini. The command itself may die with its container.
    const kill = 'kill -9 $(cat /proc/1/task/1/children)';
    await run('kubectl', ['-n', HOME, 'exec', POD, '--', 'sh', '-c', kill]);
    await until(async () => (await state('restartCount')) !== restarts, 'the server is killed', 60_000);
    const exitCode = await state('lastState.terminated.exitCode');
    if (exitCode !== '137') throw new Error(`the server was not killed: it exited ${exitCode}`);
    await this.untilReady('');
    await this.untilServed();
  }

  /** Evicts the server, like a drain of its node. @throws if the eviction is forbidden. */
  async evict(): Promise<void> {
    await this.#keepLog();
    const uid = await this.uid();
    const eviction = join(this.folder, 'eviction.json');
    await writeFile(
      eviction,
      JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: POD, namespace: HOME } }),
    );
    const path = `/api/v1/namespaces/${HOME}/pods/${POD}/eviction`;
    await kubectl('create', '--raw', path, '-f', eviction);
    await this.untilReady(uid);
    await this.untilServed();
  }

  /** Waits until the server's pod is ready. @param before - The uid of an old pod, which does not count, or empty. */
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

  /** The log lines of all servers up to now. */
  async wholeLog(): Promise<string[]> {
    await this.#keepLog();
    return this.log;
  }

  async #keepLog(): Promise<void> {
    this.log.push(...(await kubectl('-n', HOME, 'logs', POD)).split('\n'));
  }

  async uid(): Promise<string> {
    return await kubectl('-n', HOME, 'get', 'pod', POD, '-o', 'jsonpath={.metadata.uid}');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#front[Symbol.asyncDispose]();
    await removeObjects(this.#tools);
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Sends a request over a new connection, for at most 5 s. */
async function ask(url: URL, headers: Record<string, string>): Promise<{ status: number; body: string }> {
  const asked = request(url, { headers, agent: false, signal: AbortSignal.timeout(5000) }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}

export function namespaceOf(tool: string): string {
  return `tool-${tool}`;
}

/** The values of this test, by the values in docs/operating.md that they replace. */
async function values(given: {
  readonly folder: string;
  readonly authority: TestAuthority;
  readonly tool: string;
}): Promise<Record<string, string>> {
  const { folder, authority, tool } = given;
  const buildpacks = join(folder, 'buildpacks');
  await buildpacksWithScript(buildpacks);
  // The tag comes from the files, so that a node's image with this tag is the right one.
  const made = [await serverImage(), await builderWithScript()];
  const tag = `test-${createHash('sha256').update(made.join()).digest('hex').slice(0, 12)}`;
  const door = await authority.issue('door', 'DNS:push.test');
  const node = await kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].metadata.name}');
  const port = `${20_000 + (process.pid % 10_000)}`;
  return {
    'build-images --tag 1 ': `build-images --plain-http --buildpacks ${buildpacks} --tag ${tag} `,
    [REGISTRY]: `${registryHost}/test-installation`,
    // Keeps the image's name in the manifests, although it begins with the registry, which is replaced.
    [`- name: ${REGISTRY}/toolforge-push`]: `- name: ${REGISTRY}/toolforge-push`,
    [`${REGISTRY}/toolforge-push:1`]: `${registryHost}/test-installation/toolforge-push:${tag}`,
    'newTag: "1"': `newTag: "${tag}"`,
    node1: node,
    '/srv/toolforge-push': join(folder, 'volume'),
    '/etc/ssl/certs/ca-certificates.crt': authority.ca,
    'push.example.org': 'push.test',
    'push.example.org.pem': door.certificate,
    'push.example.org.key': door.key,
    '10.1.2.3/32': `${registryHost.split(':')[0]}/32`,
    '10.1.2.4/32': `${process.env['CLUSTER_NODE_IP']}/32`,
    'statefulset/toolforge-push 2222': `statefulset/toolforge-push ${port}:2222`,
    '-p 2222': `-p ${port}`,
    wikibot: tool,
  };
}

async function pageIn(folder: string, yours: Readonly<Record<string, string>>): Promise<OperatingPage> {
  // With these variables, buildah works on this machine.
  const buildahSettings = { STORAGE_DRIVER: await storageDriver(), BUILDAH_ISOLATION: 'chroot' };
  const environment = { PASSWORD: READER_PASSWORD, ...buildahSettings };
  return await OperatingPage.read({ yours, folder: join(folder, 'overlay'), environment });
}

/** Removes this test's installation. @throws if it belongs to somebody else. */
async function removeObjects(tools: readonly string[]): Promise<void> {
  // The objects of docs/operating.md have no mark of this test. The namespace of slapd has one, so it is deleted last.
  const names = [HOME, `${HOME}-builds`, ...tools.map(namespaceOf)];
  const found = await kubectl('get', 'namespaces', '--ignore-not-found', '-o', 'name', ...names);
  const ours = await kubectl('get', 'namespaces', '-l', OURS, '-o', 'name');
  if (found !== '' && !ours.includes(SlapdPod.namespace))
    throw new Error(`${found} is not this test's: it installs a server of its own`);
  const gone = ['--ignore-not-found', '--timeout=120s'];
  await kubectl('delete', 'namespaces', ...gone, ...names);
  await kubectl('delete', 'persistentvolume', ...gone, HOME, `${HOME}-1`);
  const rights = ['toolforge-push-tools', 'toolforge-push-looks'];
  await kubectl('delete', 'clusterrole', ...gone, ...rights);
  await kubectl('delete', 'clusterrolebinding', ...gone, ...rights);
  await kubectl('delete', 'namespaces', ...gone, SlapdPod.namespace);
}
