import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type RegistryTrouble, registryTrouble } from '../../../src/kubernetes/faults/registry-trouble.ts';

const ALL = ['full', 'untrusted', 'unreachable', 'refused', 'missing', 'failing'] as const;

// Messages of the kubelet with containerd, and of the lifecycle with go-containerregistry.
const SAID: readonly (readonly [RegistryTrouble | null, (image: string, host: string) => string])[] = [
  [
    'missing',
    (image) =>
      `Failed to pull image "${image}": rpc error: code = NotFound desc = failed to pull and unpack image "${image}": failed to resolve reference "${image}": ${image}: not found`,
  ],
  [
    'refused',
    (image) =>
      `Failed to pull image "${image}": failed to pull and unpack image "${image}": failed to resolve reference "${image}": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`,
  ],
  [
    'refused',
    (image, host) =>
      `Failed to pull image "${image}": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://${host}/token?scope=pull: 401 Unauthorized`,
  ],
  [
    'unreachable',
    (image, host) =>
      `Failed to pull image "${image}": failed to do request: Head "https://${host}/v2/": dial tcp ${host}: connect: connection refused`,
  ],
  [
    'unreachable',
    (image, host) => `saving image ${image}: Put "https://${host}/v2/": dial tcp ${host}: i/o timeout`,
  ],
  ['unreachable', (_, host) => `dial tcp: lookup ${host.replace(/:\d+$/, '')}: no such host`],
  [
    'untrusted',
    (image, host) =>
      `Failed to pull image "${image}": Head "https://${host}/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
  ],
  ['failing', (_, host) => `PUT https://${host}/v2/blobs/uploads/: unexpected status code 503`],
  [
    'full',
    (image) => `PATCH https://${image}: unexpected status code 507 Insufficient Storage: DENIED: quota`,
  ],
  [null, (image) => `failed to write image to the following tags: [${image}: something else]`],
];

suite('what is the matter with a registry, by its words', () => {
  for (const [trouble, words] of SAID) {
    const usual = words('registry.example.org/tool-a/tool-a@sha256:0a1b', 'registry.example.org');
    test(`an error message of a registry means “${trouble ?? 'nothing known'}”: ${usual}`, () => {
      assert.equal(registryTrouble(usual, ALL), trouble);
    });
  }

  test('words like “denied” or “403” in the tool, host, port or digest do not change what a registry’s message means', () => {
    const names = [
      'quota',
      'denied',
      'not-found',
      'refused',
      'x509',
      'eof',
      'forbidden',
      'timeout',
      'certificate',
    ];
    const digests = ['403', '401', '413', '507', '503'].map(
      (number) => `sha256:45${number}${'0c'.repeat(28)}`,
    );
    const hosts = ['10.99.0.1:51307', '127.0.0.1:403', 'registry:413', '[::1]:40300', '[2001:db8::503]:507'];
    for (const [trouble, words] of SAID)
      for (const name of names)
        for (const digest of digests)
          for (const host of [...hosts, `${name}.example.org`, `${name}.${name}:401`]) {
            const message = words(`${host}/tool-${name}/tool-${name}@${digest}`, host);
            assert.equal(registryTrouble(message, ALL), trouble, message);
          }
  });
});
