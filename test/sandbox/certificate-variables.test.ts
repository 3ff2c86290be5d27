import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { certificateVariables } from '../../src/sandbox/certificate-variables.ts';

test('the variables for certificate authorities name the certificate file for each language; without the file, no variable is set', () => {
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

test('the image in which tools run in a cluster has the same variables for certificate authorities as a sandbox', async () => {
  const file = resolve(import.meta.dirname, '../../deploy/builder/run.Dockerfile');
  const store = '/etc/ssl/certs/ca-certificates.crt';
  const set = (await readFile(file, 'utf8')).matchAll(/(\w+)=(\S+\.crt|1)(?: \\)?$/gm);
  const expected = Object.entries(certificateVariables(import.meta.filename));
  assert.deepEqual(
    Object.fromEntries(Array.from(set, ([, name, value]) => [name, value])),
    Object.fromEntries(expected.map(([name, value]) => [name, value === '1' ? '1' : store])),
  );
});
