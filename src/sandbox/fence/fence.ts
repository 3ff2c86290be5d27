import { BlockList, isIP } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Log } from '../../core/log/log.ts';
import { makeFolderForAll } from '../folder-reach.ts';
import { routeFiles, setRoutesAgain, writeRoutes } from './fence-routes.ts';
import { machineAddresses, watchAddresses } from './machine-addresses.ts';

/** Networks that every machine uses for itself and its links: loopback, multicast and, for IPv6, link-local. */
const FENCED_EVERYWHERE = ['127.0.0.0/8', '::1', 'fe80::/10', '224.0.0.0/4', 'ff00::/8'];
/**
 * IPv6 networks whose addresses contain an IPv4 address. Sockets do not send to such an address. But a tool can name
 * one in a packet's routing header (RFC 8754), and pasta would send the packet to the IPv4 address. Never put these
 * networks into a BlockList of Node.js, which would match all of IPv4.
 */
const MAPPED = ['::/96', '::ffff:0:0/96'];
const RETRY_MS = 250;
const RETRY_FAULT_MS = 5000;

export interface FenceOptions {
  /** The folder for the route files that sandboxes read. Created if it does not exist. */
  readonly folder: string;
  /** The networks that no sandbox may reach, in CIDR form. */
  readonly blockedNetworks: readonly string[];
  readonly log: Pick<Log, 'error'>;
}

/**
 * Keeps sandboxes away from the blocked networks and from every address of this machine, including addresses that the
 * machine gets later.
 *
 * The network namespace of a sandbox treats these addresses as its own, so that packets to them never leave the
 * namespace. Routes of the type `prohibit` do not suffice, because a socket that is bound to a device sends without a
 * route. A `local` route over that device applies to such sockets too.
 */
export class Fence {
  readonly #options: FenceOptions;
  /** For each running sandbox, the process id of its outermost process, pasta. */
  readonly #sandboxes = new Set<number>();
  /** The running sandboxes that do not have the newest routes yet, by the process id of pasta. */
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

  /** True if sandboxes are kept away from this address. The address may name a zone: `fe80::1%eth0`. */
  isFenced(address: string): boolean {
    const [plain = ''] = address.split('%');
    return isIP(plain) !== 0 && listOf(this.#networks).check(plain, family(plain));
  }

  /**
   * Writes the route files that keep new sandboxes away from the fenced addresses. When the addresses of this machine
   * change, writes the files again and updates the running sandboxes.
   *
   * @param exception - The address at which pasta answers DNS queries. Sandboxes can reach it even if it is in a fenced
   * network. Null if pasta answers none.
   */
  async watch(exception: string | null): Promise<void> {
    this.#exception = exception;
    await makeFolderForAll(this.#options.folder);
    await this.#write();
    watchAddresses(() => void this.#update());
  }

  /** The paths of the route files that the script `SET_ROUTES` reads. */
  get files(): readonly string[] {
    return routeFiles(this.#options.folder);
  }

  /** Keeps the routes of a sandbox up to date. @param pastaPid - The process id of pasta, the outermost process. */
  add(pastaPid: number): void {
    this.#sandboxes.add(pastaPid);
  }

  /** Forgets a sandbox whose outermost process has ended. */
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
      // Write the route files before updating sandboxes: a sandbox that is starting reads the files before it has a
      // network.
      await this.#write();
      for (const pid of this.#sandboxes) this.#behind.add(pid);
    }
    for (const pid of this.#behind) {
      if (await setRoutesAgain(pid, this.#options.folder)) this.#behind.delete(pid);
    }
  }

  async #look(): Promise<string[]> {
    const everywhere = listOf(FENCED_EVERYWHERE);
    // Leave out addresses that `FENCED_EVERYWHERE` already has. Otherwise the IPv6 link-local address of each new
    // container would change the list.
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

/**
 * Returns the IPv6 network through which a NAT64 with the well-known prefix reaches this IPv4 network (RFC 6052).
 * Returns nothing for an IPv6 network.
 */
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
