import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';

const child = join(import.meta.dirname, 'machine-child.ts');
const services = join(import.meta.dirname, 'services.py');

export const CLOUD = { ipv4: '169.254.169.254', ipv6: 'fd00:ec2::254' };
export const INTERNET = { ipv4: '203.0.113.8', ipv6: '2001:db8:8::8' };
/**
 * The machine's own addresses. IPv4: three of eth0, one of a bridge without a port, one of an interface that is down,
 * and two of loopback. IPv6: two of eth0, one of the bridge, and one of loopback.
 */
export const MACHINE = {
  ipv4: ['10.77.0.2', '10.77.0.9', '10.77.9.9', '172.29.0.1', '172.29.1.1', '127.0.0.1', '127.0.0.2'],
  ipv6: ['fd77::2', 'fd77::9', 'fd78::1', '::1'],
};
export const GATEWAY = { ipv4: '10.77.0.1', ipv6: 'fd77::1' };

export interface Ask {
  readonly data: string;
  readonly blocked: readonly string[];
  readonly argv: readonly string[];
}

/**
 * A machine in one network namespace, and the world outside in another, with a cloud's metadata service. Port 8000 of
 * all addresses answers `secret of the machine` inside, and `answer from outside` in the other namespace. Needs root.
 */
export class Machine implements AsyncDisposable {
  readonly #name = `tfp${process.pid}`;
  readonly #cleanup = new AsyncDisposableStack();
  data = '';

  static async create({ isIpv6 = true } = {}): Promise<Machine> {
    const machine = new Machine();
    try {
      await machine.#make(isIpv6);
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
    return machine;
  }

  async #make(isIpv6: boolean): Promise<void> {
    this.data = await mkdtemp(join(tmpdir(), 'toolforge-push-machine-'));
    this.#cleanup.defer(() => rm(this.data, { recursive: true, force: true }));
    await chmod(this.data, 0o755);
    for (const side of ['m', 'o']) {
      await execa('ip', ['netns', 'add', this.#name + side]);
      this.#cleanup.defer(async () => void (await execa('ip', ['netns', 'del', this.#name + side])));
    }
    const names = [
      'netns',
      `${this.#name}m`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      `${this.#name}o`,
    ];
    await execa('ip', ['link', 'add', 'eth0', ...names]);
    await this.#ip('o', [
      'link set lo up',
      'link set eth0 up',
      `addr add ${GATEWAY.ipv4}/24 dev eth0`,
      ...[CLOUD.ipv4, INTERNET.ipv4].map((address) => `addr add ${address}/32 dev lo`),
      `addr add ${GATEWAY.ipv6}/64 dev eth0 nodad`,
      ...[CLOUD.ipv6, INTERNET.ipv6].map((address) => `addr add ${address}/128 dev lo nodad`),
    ]);
    const lines = [
      'link set lo up',
      'link set eth0 up',
      'addr add 10.77.0.2/24 brd + dev eth0',
      'addr add 10.77.0.9/24 dev eth0',
      'addr add 10.77.9.9/32 dev eth0',
      'link add bridge0 type bridge',
      'link set bridge0 up',
      'addr add 172.29.0.1/24 dev bridge0',
      'link add bridge1 type bridge',
      'addr add 172.29.1.1/24 dev bridge1',
      `route add default via ${GATEWAY.ipv4}`,
    ];
    const ofIpv6 = [
      'addr add fd77::2/64 dev eth0 nodad',
      'addr add fd77::9/64 dev eth0 nodad',
      'addr add fd78::1/64 dev bridge0 nodad',
      `route add default via ${GATEWAY.ipv6}`,
    ];
    await this.#ip('m', isIpv6 ? [...lines, ...ofIpv6] : lines);
    this.#cleanup.use(await this.#serve('m', services, 'secret of the machine'));
    this.#cleanup.use(await this.#serve('o', services, 'answer from outside'));
  }

  /** Adds an address to the machine's first interface. */
  async addAddress(address: string): Promise<void> {
    await this.#ip('m', [`addr add ${address} dev eth0${address.includes(':') ? ' nodad' : ''}`]);
  }

  /** Returns the link-local IPv6 address of the machine's first interface. */
  async linkAddress(): Promise<string> {
    const { stdout } = await execa('ip', [
      '-n',
      `${this.#name}m`,
      '-6',
      'addr',
      'show',
      'dev',
      'eth0',
      'scope',
      'link',
    ]);
    return /inet6 ([^/]+)/.exec(stdout)?.[1] ?? '';
  }

  /** Lists the open UDP ports on the machine. */
  async udpPorts(): Promise<number[]> {
    const { stdout } = await execa('nsenter', [this.#in('m'), 'cat', '/proc/net/udp', '/proc/net/udp6']);
    const found = stdout.matchAll(/^ *\d+: [0-9A-F]+:([0-9A-F]{4}) /gm);
    return Array.from(found, ([, port = '']) => Number.parseInt(port, 16));
  }

  /** Adds rules to the firewall of the machine, in the language of nft(8). */
  async addRules(rules: string): Promise<void> {
    await execa('nsenter', [this.#in('m'), 'nft', '-f', '-'], { input: rules });
  }

  /** Sets a kernel parameter of the machine's network, for example `net.ipv4.ip_forward`. */
  async setParameter(name: string, value: string): Promise<void> {
    await execa('nsenter', [this.#in('m'), 'sysctl', '-q', '-w', `${name}=${value}`]);
  }

  /** Counts the connections and pairs of UDP addresses that the kernel remembers for the machine. */
  async flows(): Promise<number> {
    const file = '/proc/sys/net/netfilter/nf_conntrack_count';
    return Number((await execa('nsenter', [this.#in('m'), 'cat', file])).stdout);
  }

  /** Runs a Python program on the machine until it is disposed of. It must print a line when it is ready. */
  async serving(program: string, ...args: readonly string[]): Promise<AsyncDisposable> {
    return await this.#serve('m', program, ...args);
  }

  /** Runs a Python program as `serving` does, but outside of the machine, where the addresses of `INTERNET` are. */
  async servingOutside(program: string, ...args: readonly string[]): Promise<AsyncDisposable> {
    return await this.#serve('o', program, ...args);
  }

  async #serve(side: 'm' | 'o', program: string, ...args: readonly string[]): Promise<AsyncDisposable> {
    const argv = [this.#in(side), '/usr/bin/python3', '-u', program, ...args];
    const service = execa('nsenter', argv, { reject: false });
    await Promise.race([once(service.stdout, 'data'), service.then((ended) => Promise.reject(ended))]);
    return {
      [Symbol.asyncDispose]: async () => {
        service.kill('SIGKILL');
        await service;
      },
    };
  }

  /**
   * Runs a program in a sandbox of a server on the machine.
   *
   * @param options.uid - The server's user; 0 if not set.
   * @param options.resolver - The lines of the machine's /etc/resolv.conf.
   * @returns the lines that the program prints within 60 s, as they come. A program that still runs then is ended.
   */
  async *sandboxed(
    ask: Omit<Ask, 'data'>,
    options: { uid?: number; resolver?: string } = {},
  ): AsyncGenerator<string> {
    const data = await mkdtemp(join(this.data, 'data-'));
    await chmod(data, 0o711);
    const resolver = `${data}-resolv.conf`;
    await writeFile(resolver, options.resolver ?? 'nameserver 203.0.113.53\n', { mode: 0o644 });
    const { uid = 0 } = options;
    await execa('chown', [`${uid}:${uid}`, data]);
    const mounted = [
      'unshare',
      '--mount',
      'sh',
      '-c',
      'mount --bind "$0" /etc/resolv.conf && exec "$@"',
      resolver,
    ];
    const user = uid === 0 ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--'];
    const words: Ask = { data, ...ask };
    const argv = [this.#in('m'), ...mounted, ...user, process.execPath, child, JSON.stringify(words)];
    const server = execa('nsenter', argv, { reject: false, stdin: 'ignore', all: true, timeout: 60_000 });
    try {
      yield* createInterface({ input: server.all });
    } finally {
      server.kill('SIGTERM');
      await server;
    }
  }

  /** Collects the whole output of a program. */
  async output(...args: Parameters<Machine['sandboxed']>): Promise<string> {
    const lines: string[] = [];
    for await (const line of this.sandboxed(...args)) lines.push(line);
    return lines.join('\n');
  }

  #in(side: 'm' | 'o'): string {
    return `--net=/run/netns/${this.#name}${side}`;
  }

  async #ip(side: 'm' | 'o', lines: readonly string[]): Promise<void> {
    await execa('ip', ['-n', this.#name + side, '-batch', '-'], { input: lines.join('\n') });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}
