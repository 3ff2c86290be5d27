import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { execa } from 'execa';
import { DeployError } from '../../src/core/errors.ts';
import { explainFailure } from '../../src/deploy/verdict-reason.ts';

for (const { name, message, says } of [
  { name: 'a sentence ends with a full stop', message: 'pip exited 1', says: 'Build failed: pip exited 1.' },
  {
    name: 'no full stop follows a web address',
    message: 'apt exited 1: there is no package figglet. Search: https://packages.debian.org/figglet',
    says: 'Build failed: apt exited 1: there is no package figglet. Search: https://packages.debian.org/figglet',
  },
]) {
  test(`the person who pushed reads why a deployment failed: ${name}`, () => {
    const error = new DeployError('BUILD_FAILED', message, 'Mend it.');
    const { text } = explainFailure(error, 'v1 is still live', 'bug');
    assert.equal(text, `${says}\nMend it.\nv1 is still live.`);
  });
}

for (const { who, fail } of [
  { who: 'the server', fail: async () => writeFileSync('/dev/full', 'x') },
  { who: 'git', fail: async () => void (await execa('sh', ['-c', 'exec git --version >/dev/full'])) },
]) {
  test(`threat 83: if ${who} cannot write to a full disk, the push says that the disk of the server is full`, async () => {
    const error = await fail().catch((reason: unknown) => reason);
    const { reason } = explainFailure(error, 'v1 is still live', 'bug');
    assert.equal(reason, 'the disk of this server is full (bug); v1 is still live');
  });
}
