import { toolName } from '../core/names.ts';

export interface HostNameOptions {
  /** The domain below which tools have their web addresses: the host of a tool is `TOOL.domain`. */
  readonly domain: string;
  /**
   * Returns the server's own origin, which is known once the server listens. The addresses of tools have the scheme and
   * port of this origin.
   */
  readonly httpOrigin: () => string;
}

// RFC 1123 section 2.1: letters, digits and inner hyphens, at most 63 characters. Host names have no underscores.
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** True if the name can be the first part of a host name. */
export function isHostLabel(name: string): boolean {
  return LABEL.test(name);
}

/**
 * Returns the part of a Host header before `options.domain`, in lower case. Null if there is no Host header, if the
 * host is not below this domain, or if the host is the server's own. The returned part need not be the name of a tool.
 */
export function toolOfHost(host: string | undefined, options: HostNameOptions): string | null {
  const name = host?.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
  const suffix = `.${options.domain.toLowerCase()}`;
  if (name === undefined || !name.endsWith(suffix) || name.length === suffix.length) return null;
  if (name === new URL(options.httpOrigin()).hostname) return null;
  return name.slice(0, -suffix.length);
}

/** True if `host` is the server's own host. @param url - The setting `public_url`. If empty, returns false. */
export function isOwnHost(host: string, url: string): boolean {
  return url !== '' && host.toLowerCase() === new URL(url).hostname;
}

/**
 * Returns the tool's web address. Null if `tool` is not a valid name of a tool or not a valid part of a host name, or
 * if `TOOL.domain` is the server's own host.
 */
export function addressOf(tool: string, options: HostNameOptions): string | null {
  if (!isHostLabel(tool) || toolName(tool) === null) return null;
  const origin = new URL(options.httpOrigin());
  const host = `${tool}.${options.domain.toLowerCase()}`;
  if (host === origin.hostname) return null;
  return `${origin.protocol}//${host}${origin.port === '' ? '' : `:${origin.port}`}/`;
}
