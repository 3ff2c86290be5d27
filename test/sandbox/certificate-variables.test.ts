import assert from 'node:assert/strict';
import { test } from 'node:test';
import { certificateVariables } from '../../src/sandbox/certificate-variables.ts';

test('the variables for certificate authorities name a file that exists, for each language', () => {
  const variables = certificateVariables(import.meta.filename);
  assert.deepEqual(new Set(Object.values(variables)), new Set([import.meta.filename, '1']));
  for (const name of [
    'SSL_CERT_FILE',
    'PIP_CERT',
    'NODE_EXTRA_CA_CERTS',
    'CARGO_HTTP_CAINFO',
    'GIT_SSL_CAINFO',
  ])
    assert.equal(variables[name], import.meta.filename);
  assert.deepEqual(certificateVariables('/nowhere/ca-certificates.crt'), {});
});
