import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Candidate,
  entriesFor,
  type PlanSections,
  resolvePlan,
  withoutMet,
} from '../../../src/builder/buildpack-api/build-plan.ts';

const sections = (provides: string[], requires: string[] = []): PlanSections => ({
  provides,
  requires: requires.map((name) => ({ name, metadata: {} })),
});
const must = (id: string, ...alternatives: PlanSections[]): Candidate => ({
  id,
  isOptional: false,
  alternatives,
});
const may = (id: string, ...alternatives: PlanSections[]): Candidate => ({
  id,
  isOptional: true,
  alternatives,
});
const nothing = sections([]);

for (const { name, candidates, group } of [
  {
    name: 'a buildpack that neither provides nor requires takes part',
    candidates: [must('a', nothing)],
    group: ['a'],
  },
  { name: 'none if no buildpack passed the detection', candidates: [], group: null },
  {
    name: 'a buildpack may provide what it requires',
    candidates: [must('a', sections(['x'], ['x']))],
    group: ['a'],
  },
  {
    name: 'a buildpack may require what an earlier buildpack provides',
    candidates: [must('a', sections(['x'])), must('b', sections([], ['x']))],
    group: ['a', 'b'],
  },
  {
    name: 'a buildpack may not require what only a later buildpack provides',
    candidates: [must('a', sections([], ['x'])), must('b', sections(['x']))],
    group: null,
  },
  {
    name: 'none if something is required and not provided',
    candidates: [must('a', sections([], ['x']))],
    group: null,
  },
  {
    name: 'none if something is provided and not required',
    candidates: [must('a', sections(['x']))],
    group: null,
  },
  {
    name: 'an optional buildpack that requires what nobody provides is dropped',
    candidates: [must('a', nothing), may('b', sections([], ['x']))],
    group: ['a'],
  },
  {
    name: 'an optional buildpack that provides what nobody requires is dropped',
    candidates: [may('a', sections(['x'])), must('b', nothing)],
    group: ['b'],
  },
  {
    name: 'if an optional buildpack is dropped, an optional buildpack that needs it is dropped too',
    candidates: [may('a', sections(['x'], ['y'])), may('b', sections([], ['x'])), must('c', nothing)],
    group: ['c'],
  },
  {
    name: 'none if all buildpacks are optional and all are dropped',
    candidates: [may('a', sections(['x'])), may('b', sections([], ['y']))],
    group: null,
  },
  {
    name: 'the first alternative of a buildpack that works is used',
    candidates: [must('a', sections(['x']), sections(['y'])), must('b', sections([], ['y']))],
    group: ['a', 'b'],
  },
  {
    name: 'the alternatives of several buildpacks are tried in combination',
    candidates: [
      must('a', sections(['x']), sections(['y'])),
      must('b', sections([], ['z']), sections([], ['y'])),
    ],
    group: ['a', 'b'],
  },
  {
    name: 'an optional buildpack is not dropped if one of its alternatives works',
    candidates: [may('a', sections(['x']), nothing), must('b', nothing)],
    group: ['a', 'b'],
  },
  {
    name: 'an optional buildpack is dropped if none of its alternatives works',
    candidates: [may('a', sections(['x']), sections(['y'])), must('b', nothing)],
    group: ['b'],
  },
  {
    name: 'an optional buildpack is dropped if only earlier buildpacks require what it provides',
    candidates: [must('a', sections(['x'], ['x'])), may('b', sections(['x']))],
    group: ['a'],
  },
  {
    name: 'a second provider takes part if a later buildpack requires what it provides',
    candidates: [
      must('a', sections(['x'], ['x'])),
      may('b', sections(['x'])),
      must('c', sections([], ['x'])),
    ],
    group: ['a', 'b', 'c'],
  },
]) {
  test(`the build plans of buildpacks decide which buildpacks take part: ${name}`, () =>
    assert.deepEqual(resolvePlan(candidates)?.group ?? null, group));
}

test('a buildpack gets all plan entries for the names that it provides, with their metadata', () => {
  const plan = resolvePlan([
    must('python', { provides: ['python'], requires: [{ name: 'python', metadata: { version: '3.11' } }] }),
    must('pip', { provides: [], requires: [{ name: 'python', metadata: { launch: true } }] }),
  ]);
  assert.deepEqual(entriesFor(plan?.entries ?? [], 'python'), [
    { name: 'python', metadata: { version: '3.11' } },
    { name: 'python', metadata: { launch: true } },
  ]);
  assert.deepEqual(entriesFor(plan?.entries ?? [], 'pip'), []);
});

test('if two buildpacks provide a plan entry, the second gets the entry only if the first has left it unmet', () => {
  const plan = resolvePlan([
    must('a', sections(['x', 'y'])),
    must('b', sections(['x', 'y'])),
    must('c', sections([], ['x', 'y'])),
  ]);
  const left = withoutMet(plan?.entries ?? [], 'a', new Set(['y']));
  assert.deepEqual(
    entriesFor(left, 'b').map((entry) => entry.name),
    ['y'],
  );
});

test('threat 60: resolving build plans with thousands of alternatives is given up within 2 s', () => {
  const many = Array.from({ length: 2000 }, (_, index) => sections([], [`never-${index}`]));
  const startedAt = performance.now();
  assert.equal(
    resolvePlan([may('a', ...many, nothing), may('b', ...many, nothing), must('c', nothing)]),
    null,
  );
  assert.ok(performance.now() - startedAt < 2000);
});

test('threat 60: large build plans of a tool’s own buildpacks are given up within a second of processor time', () => {
  const many = sections(
    [],
    Array.from({ length: 5000 }, () => 'x'),
  );
  const own = Array.from({ length: 20 }, (_, index) => must(`own${index}`, many));
  const alternatives = Array.from({ length: 1000 }, () => nothing);
  const before = process.threadCpuUsage();
  assert.equal(resolvePlan([must('a', ...alternatives), ...own]), null);
  const { user } = process.threadCpuUsage(before);
  assert.ok(user < 1_000_000, `${user} µs`);
});
