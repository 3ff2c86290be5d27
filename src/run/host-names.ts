import { toolName } from '../core/names.ts';

export interface HostNameOptions {
  /** Tools answer at `TOOL.domain`. */
  readonly domain: string;
  /** How the HTTP door is reached, known once it listens: its scheme and port are the tools' too. */
  readonly httpOrigin: () => string;
}

// RFC 1123 section 2.1: letters, digits and inner hyphens, at most 63. An underscore is not for host names.
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Whether the name can be the first part of a host name. */
export function isHostLabel(name: string): boolean {
  return LABEL.test(name);
}

/**
 * The part of a Host header before the domain, in lower case, or null where the host is not below the domain
 * or is the server's own. It need not be a tool's name: nothing else answers below the domain.
 */
export function toolOfHost(host: string | undefined, options: HostNameOptions): string | null {
  const name = host?.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
  const suffix = `.${options.domain.toLowerCase()}`;
  if (name === undefined || !name.endsWith(suffix) || name.length === suffix.length) return null;
  if (name === new URL(options.httpOrigin()).hostname) return null;
  return name.slice(0, -suffix.length);
}

/** Where people reach the tool; null where its name cannot be a host name or is the server's own. */
export function addressOf(tool: string, options: HostNameOptions): string | null {
  if (!isHostLabel(tool) || toolName(tool) === null) return null;
  const origin = new URL(options.httpOrigin());
  const host = `${tool}.${options.domain.toLowerCase()}`;
  if (host === origin.hostname) return null;
  return `${origin.protocol}//${host}${origin.port === '' ? '' : `:${origin.port}`}/`;
}
