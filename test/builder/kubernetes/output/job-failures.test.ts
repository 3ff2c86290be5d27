import assert from 'node:assert/strict';
import { test } from 'node:test';
import { phaseFailed, podFailed } from '../../../../src/builder/kubernetes/output/job-failures.ts';
import type { PodFault } from '../../../../src/kubernetes/faults/pod-faults.ts';
import { failsWith } from '../../support/with-builder.ts';

const limits = { processes: null, memoryBytes: 2 ** 31, fileBytes: 2 ** 30 };
const host = 'registry.example.org';

for (const [phase, line, code, message] of [
  [
    'fetch',
    'curl: (7) Failed to connect to push.example.org port 443',
    'BUILD_SOURCE',
    /\(7\) Failed to connect/,
  ],
  ['fetch', 'the builder image has neither curl nor python3', 'BUILD_SOURCE', /neither curl nor python3/],
  [
    'fetch',
    `ERROR: failed to initialize analyzer: validating registry read access: dial tcp: lookup ${host}: no such host`,
    'REGISTRY_UNAVAILABLE',
    /registry\.example\.org cannot be used/,
  ],
  [
    'export',
    'ERROR: failed to export: Put "https://x": context deadline exceeded',
    'REGISTRY_UNAVAILABLE',
    /deadline/,
  ],
  [
    'export',
    'ERROR: failed to export: PUT https://x: unexpected status code 503',
    'REGISTRY_UNAVAILABLE',
    /503/,
  ],
  [
    'export',
    'ERROR: failed to export: UNAUTHORIZED: authentication required',
    'REGISTRY_REFUSED',
    /UNAUTHORIZED/,
  ],
  ['fetch', 'ERROR: failed to restore: DENIED: requested access is denied', 'REGISTRY_REFUSED', /DENIED/],
  [
    'export',
    'ERROR: failed to export: DENIED: adding 10 MiB of storage resource will exceed the configured upper limit (quota)',
    'REGISTRY_FULL',
    /no room/,
  ],
  [
    'export',
    'ERROR: failed to export: write /tmp/x: no space left on device',
    'BUILD_OUT_OF_DISK',
    /1024 MiB of disk/,
  ],
  [
    'export',
    'ERROR: failed to export: something else',
    'BUILD_FAILED',
    /^storing the image failed \(exit status 62\): export: something else/,
  ],
] as const) {
  test(`threat 70: the error of a build phase ${phase} whose output ends with "${line.slice(0, 60)}" has the code ${code}`, () => {
    const end = { exitCode: code === 'BUILD_SOURCE' ? 200 : 62, isOutOfMemory: false, message: '' };
    const error = phaseFailed({ phase, end, lines: ['before', line, ''], registryHost: host, limits });
    failsWith(code, message)(error);
  });
}

test('threat 60: if a build phase without buildpacks runs out of memory, the error names the phase and the limit', () => {
  const end = { exitCode: 137, isOutOfMemory: true, message: '' };
  const error = phaseFailed({ phase: 'export', end, lines: [], registryHost: host, limits });
  failsWith('BUILD_OUT_OF_MEMORY', /^storing the image needs more than the build’s limit of 2048 MiB/)(error);
});

test('a failed build phase without output is reported with its exit status', () => {
  const end = { exitCode: 3, isOutOfMemory: false, message: '' };
  const error = phaseFailed({ phase: 'fetch', end, lines: [], registryHost: host, limits });
  failsWith('BUILD_FAILED', /^looking at the registry failed \(exit status 3\): it printed no reason/)(error);
});

const fault = (code: PodFault['code'], words: string): PodFault => ({
  code,
  words,
  hint: 'As the cluster says.',
  container: null,
  exitCode: null,
  mayPass: false,
});

for (const [code, words, expected, message] of [
  ['EVICTED', 'was ended because it wrote more than 1Gi to disk', 'BUILD_OUT_OF_DISK', /64 MiB of disk/],
  [
    'EVICTED',
    'was ended because its node ran out of memory',
    'BUILD_EVICTED',
    /during pip, was ended because its node/,
  ],
  ['UNSCHEDULABLE', 'finds no room in the cluster: x', 'BUILD_UNSCHEDULABLE', /finds no room/],
  ['REFUSED', 'cannot be made: the quota few is used up', 'BUILD_REFUSED', /the quota few is used up$/],
  ['NODE_LOST', 'was ended because its node went away', 'BUILD_NODE_LOST', /went away/],
] as const) {
  test(`threat 78: a build whose pod has the fault ${code} (${words}) fails with ${expected}`, () => {
    const error = podFailed(fault(code, words), 'pip', { diskBytes: 64 * 1024 * 1024, memoryBytes: 1 });
    failsWith(expected, message)(error);
    assert.doesNotMatch(error.hint, /service\.template/);
  });
}
