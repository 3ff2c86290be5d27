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
    name: 'a number from the command `scale` keeps a named command running',
    types: ['worker=0'],
    asked: { worker: 1 },
    expected: 'worker=1',
  },
  {
    name: 'the process type `release` never has a number, even one from the command `scale`',
    types: ['release', 'web'],
    asked: { release: 3 },
    expected: 'web=1',
  },
  {
    name: 'a number from service.template is only for web',
    types: ['web', 'worker'],
    template: 3,
    asked: {},
    expected: 'web=3 worker=1',
  },
  {
    name: 'a number from the command `scale` wins over service.template',
    types: ['web'],
    template: 3,
    asked: { web: 0 },
    expected: 'web=0',
  },
  {
    name: 'a number for a type that the release does not have has no effect',
    types: ['web'],
    asked: { worker: 4 },
    expected: 'web=1',
  },
  {
    name: 'max_replicas limits each type, and numbers from service.template and the command `scale` alike',
    types: ['web', 'worker'],
    template: 9,
    asked: { worker: 5 },
    most: 4,
    expected: 'web=4 worker=4',
  },
  {
    name: 'a type may have a name like constructor, which is a property of every object',
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
  test(`the server runs the right number of processes of each type: ${name}`, () => {
    const counts = replicasOf(release(types, template), asked, most);
    assert.equal(replicasLine(counts), expected);
  });
}

for (const { name, live, next, kept } of [
  { name: 'none in a first release', live: null, next: ['web', 'worker=0'], kept: '' },
  {
    name: 'a worker that has become a named command',
    live: ['web', 'worker'],
    next: ['web', 'worker=0'],
    kept: 'worker=1',
  },
  {
    name: 'no type that was a named command already',
    live: ['web', 'worker=0'],
    next: ['web', 'worker=0'],
    kept: '',
  },
  { name: 'no type that the next release lacks', live: ['web', 'worker'], next: ['web'], kept: '' },
  {
    name: 'no type for which the next release has a number of processes',
    live: ['web', 'worker'],
    next: ['web', 'worker=3'],
    kept: '',
  },
  {
    name: 'none if an earlier version of this server also made the next release',
    live: ['web', 'worker'],
    next: ['web', 'worker'],
    kept: '',
  },
]) {
  test(`an earlier version of this server started every process type; after such a release, the next release keeps these types running: ${name}`, () => {
    assert.equal(replicasLine(replicasKept(live === null ? null : release(live), release(next))), kept);
  });
}

test('a process type with the name `constructor` has no number of processes unless somebody sets one, and the process type `release` cannot be scaled', () => {
  assert.equal(countOf({ web: 2 }, 'constructor'), undefined);
  assert.deepEqual(
    scalable(release(['release', 'web'])).map(({ type }) => type),
    ['web'],
  );
});
