import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { DeployError } from '../../../core/errors.ts';

/**
 * Parses addresses and CIDR ranges into a list.
 *
 * @throws DeployError `BAD_SETTING` for a host name. The addresses of a host name may change, but this list stays as it
 * is.
 */
export function addressList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits] = range.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (isIP(address) === 0) {
      throw new DeployError(
        'BAD_SETTING',
        `the setting trusted_proxies contains the host name ${range}`,
        'With `runtime: local`, trusted_proxies can only have addresses and CIDR ranges.',
      );
    }
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

// The hop-by-hop header fields of RFC 9110 section 7.6.1 and of older proxies. Transfer-Encoding stays, because Node.js
// uses it to frame the body.
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'upgrade',
];

// With these header fields of an answer, nginx, lighttpd, Apache or Perlbal in front of this server would send a file
// or page of their own instead of the answer.
const OF_FRONT_SERVERS = [
  'x-accel-redirect',
  'x-sendfile',
  'x-sendfile2',
  'x-lighttpd-send-file',
  'x-reproxy-file',
  'x-reproxy-url',
];

/**
 * True for the names of header fields and trailers, such as `x-accel-redirect`, that make some web servers in front of
 * this one send a file or page of their own instead of a tool's answer.
 */
export function isOrder(name: string): boolean {
  return OF_FRONT_SERVERS.includes(name);
}

/**
 * Removes header fields of a tool's answer, such as X-Accel-Redirect, that make some web servers in front of this one
 * send a file or page of their own instead of the answer.
 */
export function dropOrders(headers: IncomingMessage['headers']): void {
  for (const name of OF_FRONT_SERVERS) delete headers[name];
}

/** Removes hop-by-hop header fields, including those that the field Connection names. */
export function stripHopByHop(headers: IncomingMessage['headers']): void {
  const named = String(headers.connection ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== 'transfer-encoding' && name !== 'content-length' && name !== 'host');
  for (const name of [...HOP_BY_HOP, ...named]) delete headers[name];
}

/**
 * Removes header fields that CGI and WSGI programs could mistake for others. Such programs see `X_Forwarded_For`, and
 * with some servers `X.Forwarded.For`, as `HTTP_X_FORWARDED_FOR`. So field names may have only letters, digits and
 * hyphens, as in nginx. `Proxy` is removed because it becomes `HTTP_PROXY`, which many programs obey.
 *
 * @see https://httpoxy.org/
 * @see https://nginx.org/en/docs/http/ngx_http_core_module.html#ignore_invalid_headers
 */
export function keepPlainNames(headers: IncomingMessage['headers']): void {
  for (const name of Object.keys(headers)) {
    if (name === 'proxy' || !/^[a-z0-9-]+$/.test(name)) delete headers[name];
  }
}

/**
 * Sets the header fields that tell the tool the client's address, scheme and host. Drops such fields if the client
 * itself has sent them. From a trusted proxy, accepts X-Forwarded-For and X-Forwarded-Proto, and keeps other fields
 * that begin with X-Forwarded-, except X-Forwarded-Host, X-Forwarded-Port and X-Forwarded-Server.
 */
export function setForwarded(request: IncomingMessage, trustedProxies: BlockList): void {
  const { headers, socket } = request;
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/i, '');
  const isProxy = isIP(address) > 0 && trustedProxies.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  const before = isProxy ? headers['x-forwarded-for'] : undefined;
  const said = isProxy ? String(headers['x-forwarded-proto'] ?? '') : '';
  const own = socket instanceof TLSSocket ? 'https' : 'http';
  for (const name of ['forwarded', 'x-forwarded-port', 'x-real-ip', 'x-forwarded-server'])
    delete headers[name];
  const others = isProxy ? [] : Object.keys(headers).filter((name) => name.startsWith('x-forwarded-'));
  for (const name of others) delete headers[name];
  headers['x-forwarded-for'] = before === undefined ? address : `${String(before)}, ${address}`;
  headers['x-forwarded-proto'] = said === 'https' || said === 'http' ? said : own;
  headers['x-forwarded-host'] = headers.host ?? '';
}
