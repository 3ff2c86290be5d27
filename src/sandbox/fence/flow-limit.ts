import { execa } from 'execa';
import { systemCode } from '../../core/errors.ts';
import { isWholeRoot } from '../../settings/account.ts';

/** How many tools can have users of their own: the uids of tools are below `baseUid` plus this number. */
const USERS = 100_000;
/**
 * How many connections to the network the user of a tool may have open at the same time. The machine has some 28,000
 * local ports for connections to one port of an address, so a few tools could otherwise take them all.
 */
export const MOST_TCP = 4000;
/**
 * How many pairs of UDP addresses and ports the user of a tool may use at the same time. The kernel keeps each pair for
 * 30 s, or for 120 s after answers to several packets. A name lookup takes one.
 */
const MOST_UDP = 8000;

/**
 * Makes the kernel limit the connections of each tool (nft(8), “CT COUNT” and “DYNAMIC SETS”): the machine has one
 * table of connections and one range of local ports for everybody. pasta connects as the user of the tool. The limits
 * stay until the machine is started again, and the next call replaces them. Does nothing if this process is not root,
 * or only in a user namespace, where it may not change the machine's firewall: docs/service.md has rules for the
 * operator.
 *
 * @returns null if the limits are set, or if this process is not root of the machine. Otherwise the reason why there
 * are no limits: a text that can follow the word `because`.
 */
export async function limitFlows(baseUid: number): Promise<string | null> {
  if (!isWholeRoot()) return null;
  const table = `inet toolforge_push_${baseUid}`;
  const limit = (protocol: string, most: number) =>
    `meta skuid ${baseUid}-${baseUid + USERS - 1} meta l4proto ${protocol} ct state new add @${protocol}_users { meta skuid ct count over ${most} } reject with icmpx admin-prohibited`;
  const set = (protocol: string) => `set ${protocol}_users { type uid; flags dynamic; size ${USERS}; }`;
  const rules = `
    table ${table}
    delete table ${table}
    table ${table} {
      ${set('tcp')}
      ${set('udp')}
      chain output {
        type filter hook output priority filter; policy accept;
        ${limit('tcp', MOST_TCP)}
        ${limit('udp', MOST_UDP)}
      }
    }`;
  const made = await execa('nft', ['-f', '-'], {
    input: rules,
    env: { PATH: '/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin', LC_ALL: 'C' },
    extendEnv: false,
    reject: false,
    timeout: 10_000,
  });
  if (made.exitCode === 0) return null;
  if (systemCode(made.cause) === 'ENOENT') return 'nft is not installed (apt-get install nftables)';
  return `nft failed: ${made.stderr?.split('\n')[0] || made.shortMessage}`;
}
