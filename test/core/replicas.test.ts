import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countOf, replicasLine, replicasOf, stayingUp } from '../../src/core/replicas.ts';
import type { Release, Replicas } from '../../src/core/types.ts';
import { artifactOf } from '../support/store-records.ts';

function release(types: readonly string[], replicas?: number): Pick<Release, 'artifact'> {
  const processes = types.map((type) => ({ type, command: [type], isDefault: false }));
  const service = { healthCheckPath: null, ...(replicas === undefined ? {} : { replicas }) };
  return { artifact: { ...artifactOf('b1'), processes, service } };
}

for (const { name, types, template, asked, most, expected } of [
  { name: 'one of each type by default', types: ['web', 'worker'], asked: {}, expected: 'web=1 worker=1' },
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

test('a process type named constructor, like a property of every object, has no number by default', () => {
  assert.equal(countOf({ web: 2 }, 'constructor'), undefined);
  assert.deepEqual(
    stayingUp(release(['release', 'web'])).map(({ type }) => type),
    ['web'],
  );
});
