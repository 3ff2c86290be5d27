import { existsSync } from 'node:fs';

/**
 * The file in which Debian keeps all certificate authorities that a machine trusts. Sandboxes see this machine's file.
 */
const STORE = '/etc/ssl/certs/ca-certificates.crt';
const NAMES = [
  // For OpenSSL, and so for Python, Ruby, PHP and Perl; also for Go and uv.
  'SSL_CERT_FILE',
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  // For Node.js, whose own list lacks the authorities that a company adds to its machines.
  'NODE_EXTRA_CA_CERTS',
  'CARGO_HTTP_CAINFO',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
];

/**
 * Environment variables that make OpenSSL, Node.js, curl, git, pip, Cargo and uv trust the certificate authorities of
 * this machine, in builds and in tools. These variables are defaults: settings, config vars and layers can replace each
 * of them. Empty if the file `store` does not exist.
 */
export function certificateVariables(store = STORE): Record<string, string> {
  if (!existsSync(store)) return {};
  return { ...Object.fromEntries(NAMES.map((name) => [name, store])), UV_SYSTEM_CERTS: '1' };
}
