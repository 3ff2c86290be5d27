import { mkdir } from 'node:fs/promises';
import { BlockList, isIP } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Log } from '../../core/log.ts';
import { machineAddresses, watchAddresses } from './machine-addresses.ts';
import { routeFiles, setRoutesAgain, writeRoutes } from './routes.ts';

/** What leads to this machine, or no further than its links, wherever it is. */
const FENCED_EVERYWHERE = ['127.0.0.0/8', '::1', 'fe80::/10', '224.0.0.0/4', 'ff00::/8'];
/**
 * IPv4 addresses in IPv6 packets. No socket sends to them as such, but a routing header can (RFC 8754), and pasta would
 * take them for what they stand for. Not for a BlockList, which takes them for all of IPv4.
 */
const MAPPED = ['::/96', '::ffff:0:0/96'];
const RETRY_MS = 250;
const RETRY_FAULT_MS = 5000;

export interface FenceOptions {
  /** For the files that sandboxes read; made if it does not exist. */
  readonly folder: string;
  /** In CIDR form. */
  readonly blockedNetworks: readonly string[];
  readonly log: Pick<Log, 'error'>;
}

/**
 * Keeps sandboxes away from the blocked networks and from every address of this machine, also from those that it gets
 * later.
 *
 * The network namespace of a sandbox takes these addresses for its own, so that a packet to one of them never leaves
 * it. Routes of the type `prohibit` do not suffice: a socket that is bound to a device sends although no route leads
 * there. A `local` route over that device counts for such a socket as well.
 */
export class Fence {
  readonly #options: FenceOptions;
  /** The outermost process of each that runs. */
  readonly #sandboxes = new Set<number>();
  /** Those that do not have the newest routes. */
  readonly #behind = new Set<number>();
  #networks: readonly string[] = [];
  #exception: string | null = null;
  #isStale = false;
  #isAtWork = false;

  private constructor(options: FenceOptions) {
    this.#options = options;
  }

  static async open(options: FenceOptions): Promise<Fence> {
    const fence = new Fence(options);
    fence.#networks = await fence.#look();
    return fence;
  }

  /** Whether sandboxes are kept away from an address. It may name a zone: `fe80::1%eth0`. */
  isFenced(address: string): boolean {
    const [plain = ''] = address.split('%');
    return isIP(plain) !== 0 && listOf(this.#networks).check(plain, family(plain));
  }

  /**
   * Writes the routes for sandboxes to come, and from then on follows the addresses of this machine.
   *
   * @param exception - the address at which pasta itself answers; null = none.
   */
  async watch(exception: string | null): Promise<void> {
    this.#exception = exception;
    await mkdir(this.#options.folder, { recursive: true, mode: 0o755 });
    await this.#write();
    watchAddresses(() => void this.#update());
  }

  /** What the script `SET_ROUTES` reads. */
  get files(): readonly string[] {
    return routeFiles(this.#options.folder);
  }

  /** Keeps a sandbox fenced from now on. @param pastaPid - its outermost process */
  add(pastaPid: number): void {
    this.#sandboxes.add(pastaPid);
  }

  /** Its outermost process has ended. */
  delete(pastaPid: number): void {
    this.#sandboxes.delete(pastaPid);
    this.#behind.delete(pastaPid);
  }

  async #update(): Promise<void> {
    this.#isStale = true;
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    let isFaulty = false;
    while (this.#isStale || this.#behind.size > 0) {
      try {
        await this.#follow();
        isFaulty = false;
      } catch (err) {
        this.#isStale = true;
        if (!isFaulty) {
          this.#options.log.error({ err }, 'sandboxes may reach the newest addresses of this machine');
        }
        isFaulty = true;
      }
      if (isFaulty) await wait(RETRY_FAULT_MS, undefined, { ref: false });
      else if (this.#behind.size > 0) await wait(RETRY_MS, undefined, { ref: false });
    }
    this.#isAtWork = false;
  }

  async #follow(): Promise<void> {
    this.#isStale = false;
    const networks = await this.#look();
    if (networks.join() !== this.#networks.join()) {
      this.#networks = networks;
      // The files come first: a sandbox that has not read them yet has no network yet.
      await this.#write();
      for (const pid of this.#sandboxes) this.#behind.add(pid);
    }
    for (const pid of this.#behind) {
      if (await setRoutesAgain(pid, this.#options.folder)) this.#behind.delete(pid);
    }
  }

  async #look(): Promise<string[]> {
    const everywhere = listOf(FENCED_EVERYWHERE);
    // Link-local addresses come and go with each container of the machine, and change nothing.
    const own = (await machineAddresses()).filter((network) => {
      const [start = ''] = network.split('/');
      return !everywhere.check(start, family(start));
    });
    return [...new Set([...FENCED_EVERYWHERE, ...this.#options.blockedNetworks, ...own])];
  }

  async #write(): Promise<void> {
    const networks = [...this.#networks, ...MAPPED, ...this.#networks.flatMap(translated)];
    await writeRoutes(this.#options.folder, networks, this.#exception);
  }
}

/** An IPv4 network as a NAT64 of the well-known prefix reaches it (RFC 6052); none of an IPv6 network. */
function translated(network: string): string[] {
  const [start = '', bits = '32'] = network.split('/');
  return family(start) === 'ipv6' ? [] : [`64:ff9b::${start}/${96 + Number(bits)}`];
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [start = '', bits] = network.split('/');
    if (bits === undefined) list.addAddress(start, family(start));
    else list.addSubnet(start, Number(bits), family(start));
  }
  return list;
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
