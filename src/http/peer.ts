import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv4 } from 'node:net';
import type { TrustedProxies } from './trusted-proxies.ts';

/** Who is at the other end, as far as it can be believed. */
export interface Peer {
  /** Without the port; IPv4 as IPv4. */
  readonly address: string;
  /** True where passwords may be sent: TLS up to us or up to a trusted proxy, or this very machine. */
  readonly isConfidential: boolean;
}

/** What only a trusted proxy may say. */
const FORWARDING = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
];

/**
 * Reads the peer of a request. X-Forwarded-For and X-Forwarded-Proto count only when they come from a
 * trusted proxy; from anybody else they are removed from the request, so that nobody behind us believes them.
 */
export function createPeerReader(trustedProxies: TrustedProxies): (request: IncomingMessage) => Peer {
  const isTrusted = (address: string) => trustedProxies.check(address);
  return (request) => {
    const address = plainAddress(request.socket.remoteAddress ?? '');
    const isEncrypted = 'encrypted' in request.socket && request.socket.encrypted === true;
    if (isTrusted(address)) {
      const isSecure = lastOf(request.headers, 'x-forwarded-proto')?.toLowerCase() === 'https';
      return { address: clientBehind(request.headers, address, isTrusted), isConfidential: isSecure };
    }
    for (const name of FORWARDING) delete request.headers[name];
    return { address, isConfidential: isEncrypted || isLoopback(address) };
  };
}

/** True for an address of this machine that no other machine can reach, and for `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || (isIP(host) !== 0 && loopback.check(host, isIPv4(host) ? 'ipv4' : 'ipv6'));
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** The rightmost address that no trusted proxy has: what stands left of it, a client may have written. */
function clientBehind(
  headers: IncomingHttpHeaders,
  proxy: string,
  isTrusted: (address: string) => boolean,
): string {
  let nearest = proxy;
  for (const hop of String(headers['x-forwarded-for'] ?? '')
    .split(',')
    .reverse()) {
    const address = plainAddress(hop.trim());
    if (isIP(address) === 0) return nearest;
    nearest = address;
    if (!isTrusted(address)) return nearest;
  }
  return nearest;
}

function lastOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  return String(headers[name] ?? '')
    .split(',')
    .at(-1)
    ?.trim();
}

/** Without brackets, port, zone and the IPv6 form of IPv4. */
function plainAddress(text: string): string {
  const bare =
    /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text;
  return bare.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
}
