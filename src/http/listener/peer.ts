import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { plainAddress } from '../../core/network/ip-address.ts';
import { isLoopback } from '../../core/network/loopback.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/**
 * The client's address, and whether the connection protects passwords. Data that the client could have forged does not
 * count.
 */
export interface Peer {
  /** The address of the client, without the port. An IPv4 address is never in its IPv6 form. */
  readonly address: string;
  /** Whether passwords may be sent: over TLS to this server or to a trusted proxy, or directly from this machine. */
  readonly isConfidential: boolean;
}

/** Headers that only a trusted proxy may set. */
const FORWARDING = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
];

/**
 * Reads the peer of a request. Only a trusted proxy's X-Forwarded-For and X-Forwarded-Proto count. Forwarding headers
 * of others are removed, so that tools do not believe them.
 */
export function createPeerReader(trustedProxies: TrustedProxies): (request: IncomingMessage) => Peer {
  const isTrusted = (address: string) => trustedProxies.check(address);
  return (request) => {
    const address = plainAddress(request.socket.remoteAddress);
    const isEncrypted = 'encrypted' in request.socket && request.socket.encrypted === true;
    if (isTrusted(address)) {
      const isSecure = lastOf(request.headers, 'x-forwarded-proto')?.toLowerCase() === 'https';
      return { address: clientBehind(request.headers, address, isTrusted), isConfidential: isSecure };
    }
    for (const name of FORWARDING) delete request.headers[name];
    return { address, isConfidential: isEncrypted || isLoopback(address) };
  };
}

/**
 * Reads the addresses in X-Forwarded-For from the right, up to the first that is no trusted proxy: the client could
 * have invented the addresses to the left of that one. If all are trusted proxies, or an entry is no address, returns
 * the last address that was read, or `proxy` if there was none.
 */
function clientBehind(
  headers: IncomingHttpHeaders,
  proxy: string,
  isTrusted: (address: string) => boolean,
): string {
  let nearest = proxy;
  for (const hop of String(headers['x-forwarded-for'] ?? '')
    .split(',')
    .reverse()) {
    const address = plainAddress(withoutPort(hop.trim()));
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

/** Removes the brackets and the port from an address such as `[::1]:80`. */
function withoutPort(text: string): string {
  return /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text;
}
