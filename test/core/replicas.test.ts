import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countOf, replicasKept, replicasLine, replicasOf, scalable } from '../../src/core/replicas.ts';
import type { Release, Replicas } from '../../src/core/types.ts';
import { artifactOf } from '../support/store-records.ts';

/** @param types - Such as `worker`, or `worker=0` for a process with a number of its own. */
function release(types: readonly string[], replicas?: number): Pick<Release, 'artifact'> {
  const processes = types.map((text) => {
    const [type = '', count] = text.split('=');
    const process = { type, command: [type], isDefault: false };
    return count === undefined ? process : { ...process, replicas: Number(count) };
  });
  const service = { healthCheckPath: null, ...(replicas === undefined ? {} : { replicas }) };
  return { artifact: { ...artifactOf('b1'), processes, service } };
}

for (const { name, types, template, asked, most, expected } of [
  {
    name: 'one of each type in a release of an earlier version of this server',
    types: ['web', 'worker'],
    asked: {},
    expected: 'web=1 worker=1',
  },
  {
    name: 'a named command does not start by itself',
    types: ['web', 'migrate=0', 'worker=2'],
    asked: {},
    expected: 'web=1 migrate=0 worker=2',
  },
  {
    name: 'what was asked for keeps a named command running',
    types: ['worker=0'],
    asked: { worker: 1 },
    expected: 'worker=1',
  },
  {
    name: 'the release phase is not kept running',
    types: ['release', 'web'],
    asked: { release: 3 },
    expected: 'web=1',
  },
  {
    name: 'service.template is about web alone',
    types: ['web', 'worker'],
    template: 3,
    asked: {},
    expected: 'web=3 worker=1',
  },
  {
    name: 'what was asked for wins over service.template',
    types: ['web'],
    template: 3,
    asked: { web: 0 },
    expected: 'web=0',
  },
  { name: 'a type that is gone has no effect', types: ['web'], asked: { worker: 4 }, expected: 'web=1' },
  {
    name: 'the limit is for each type and both sources',
    types: ['web', 'worker'],
    template: 9,
    asked: { worker: 5 },
    most: 4,
    expected: 'web=4 worker=4',
  },
  {
    name: 'a type may have the name of a property that every object has',
    types: ['constructor', '__proto__'],
    asked: JSON.parse('{"__proto__": 2}') as Replicas,
    expected: 'constructor=1 __proto__=2',
  },
] as readonly {
  name: string;
  types: string[];
  template?: number;
  asked: Replicas;
  most?: number;
  expected: string;
}[]) {
  test(`the number of processes of a type: ${name}`, () => {
    const counts = replicasOf(release(types, template), asked, most);
    assert.equal(replicasLine(counts), expected);
  });
}

for (const { name, live, next, kept } of [
  { name: 'a first release keeps nothing', live: null, next: ['web', 'worker=0'], kept: '' },
  {
    name: 'a worker',
    live: ['web', 'worker'],
    next: ['web', 'worker=0'],
    kept: 'worker=1',
  },
  { name: 'a named command stays one', live: ['web', 'worker=0'], next: ['web', 'worker=0'], kept: '' },
  { name: 'a type that is gone', live: ['web', 'worker'], next: ['web'], kept: '' },
  { name: 'a type with its own number', live: ['web', 'worker'], next: ['web', 'worker=3'], kept: '' },
  { name: 'a rollback to an earlier version', live: ['web', 'worker'], next: ['web', 'worker'], kept: '' },
]) {
  test(`which process types of an earlier version go on running in the next release: ${name}`, () => {
    assert.equal(replicasLine(replicasKept(live === null ? null : release(live), release(next))), kept);
  });
}

test('a process type named constructor, like a property of every object, has no number by default', () => {
  assert.equal(countOf({ web: 2 }, 'constructor'), undefined);
  assert.deepEqual(
    scalable(release(['release', 'web'])).map(({ type }) => type),
    ['web'],
  );
});
