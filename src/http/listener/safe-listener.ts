import type { Config } from '../../config.ts';
import { DeployError } from '../../core/errors.ts';
import { isLoopback } from '../../core/network/loopback.ts';
import { TrustedProxies } from './trusted-proxies.ts';

export type ListenerConfig = Pick<Config, 'http' | 'tls_certificate' | 'tls_key' | 'trusted_proxies'>;

export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
}

/**
 * Refuses settings with which passwords would cross a network in the clear.
 *
 * @returns the TLS files, or null for plain HTTP.
 * @throws DeployError `PLAIN_HTTP` for such settings; `BAD_SETTING` if a TLS setting is missing or a trusted proxy is
 * not valid.
 */
export function assertSafeListener(config: ListenerConfig): TlsFiles | null {
  new TrustedProxies(config.trusted_proxies);
  const { tls_certificate: certificate, tls_key: key } = config;
  if (certificate !== null && key !== null) return { certificate, key };
  if (certificate !== null || key !== null) {
    throw new DeployError(
      'BAD_SETTING',
      `the setting ${certificate === null ? 'tls_certificate' : 'tls_key'} is missing`,
      'TLS needs both tls_certificate and tls_key.',
    );
  }
  if (isLoopback(config.http.host) || config.trusted_proxies.length > 0) return null;
  throw new DeployError(
    'PLAIN_HTTP',
    `the HTTP server would take passwords without encryption on ${config.http.host}`,
    'Set tls_certificate and tls_key, or name the reverse proxy that ends TLS in trusted_proxies, or listen on 127.0.0.1.',
  );
}
