import { existsSync } from 'node:fs';

/** Where Debian keeps all authorities that a machine trusts. Sandboxes show the file of this machine. */
const STORE = '/etc/ssl/certs/ca-certificates.crt';
const NAMES = [
  // OpenSSL, and so Python, Ruby, PHP and Perl; also Go and uv.
  'SSL_CERT_FILE',
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  // Node has its own list, which lacks the authorities that a company adds to its machines.
  'NODE_EXTRA_CA_CERTS',
  'CARGO_HTTP_CAINFO',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
];

/**
 * The variables with which builds and tools of every language trust the certificate authorities of this machine. They
 * are defaults: settings, config vars and layers can replace each of them. Empty if the file `store` does not exist.
 */
export function certificateVariables(store = STORE): Record<string, string> {
  if (!existsSync(store)) return {};
  return { ...Object.fromEntries(NAMES.map((name) => [name, store])), UV_SYSTEM_CERTS: '1' };
}
