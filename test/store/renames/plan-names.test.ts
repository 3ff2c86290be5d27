import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { planNames } from '../../../src/store/renames/plan-names.ts';
import { noteKey } from '../../../src/store/renames/rename-notes.ts';

interface Case {
  readonly title: string;
  /** The tools of the older store, by number. `a old`: the tool `a` had releases. `a-p of-a`: it is a preview of `a`. */
  readonly store: Readonly<Record<number, string>>;
  /** The renames, as `NUMBER from to`. A `+` in front means that the older store knows this rename. */
  readonly renames?: readonly string[];
  /** For each tool that has copies of releases: the number of the tool in these copies. */
  readonly copies?: Readonly<Record<string, number>>;
  /** The present names of the renamed tools, by number. A regular expression matches the conflict instead. */
  readonly now: Readonly<Record<number, string>> | RegExp;
  readonly ended?: readonly string[];
}

const cases: readonly Case[] = [
  { title: 'no rename', store: { 1: 'a', 2: 'b' }, copies: { a: 1, b: 2 }, now: {} },
  { title: 'one rename', store: { 1: 'a' }, renames: ['1 a b'], now: { 1: 'b' } },
  { title: 'a known rename', store: { 1: 'b' }, renames: ['+1 a b'], now: {} },
  {
    title: 'a known rename, and a tool with the number and the old name',
    store: { 1: 'a' },
    renames: ['+1 a b'],
    now: {},
  },
  { title: 'a chain', store: { 1: 'a' }, renames: ['1 a b', '1 b c'], now: { 1: 'c' } },
  {
    title: 'a chain of which the store knows a part',
    store: { 1: 'b' },
    renames: ['+1 a b', '1 b c'],
    now: { 1: 'c' },
  },
  { title: 'a rename back', store: { 1: 'a' }, renames: ['1 a b', '1 b a'], now: {} },
  {
    title: 'a swap',
    store: { 1: 'a', 2: 'b' },
    renames: ['1 a x', '2 b a', '1 x b'],
    now: { 1: 'b', 2: 'a' },
  },
  {
    title: 'two tools that move up',
    store: { 1: 'a', 2: 'b' },
    renames: ['2 b c', '1 a b'],
    now: { 1: 'b', 2: 'c' },
  },
  {
    title: 'a new tool with the old name, which was renamed too',
    store: { 1: 'a' },
    renames: ['1 a b', '2 a c'],
    copies: { b: 1, c: 2 },
    now: { 1: 'b' },
  },
  {
    title: 'a new tool with the old name, with releases',
    store: { 1: 'a' },
    renames: ['1 a b'],
    copies: { b: 1, a: 2 },
    now: { 1: 'b' },
  },
  {
    title: 'a tool without releases that had the new name and ended',
    store: { 1: 'a', 2: 'b' },
    renames: ['1 a b'],
    now: { 1: 'b' },
    ended: ['b'],
  },
  {
    title: 'a tool with releases that has the new name',
    store: { 1: 'a', 2: 'b old' },
    renames: ['1 a b'],
    now: /a tool b with releases/,
  },
  {
    title: 'previews of the renamed tool, and one with the new name',
    store: { 1: 'a', 2: 'a-p of-a', 3: 'c old', 4: 'b of-c', 5: 'c-p of-c' },
    renames: ['1 a b'],
    now: { 1: 'b' },
    ended: ['a-p', 'b'],
  },
  { title: 'copies: one rename', store: { 1: 'a' }, copies: { b: 1 }, now: { 1: 'b' } },
  {
    title: 'copies: a new tool with the old name',
    store: { 1: 'a' },
    copies: { b: 1, a: 2 },
    now: { 1: 'b' },
  },
  {
    title: 'copies: a swap',
    store: { 1: 'a old', 2: 'b old' },
    copies: { a: 2, b: 1 },
    now: { 1: 'b', 2: 'a' },
  },
  {
    title: 'copies: a chain of two tools',
    store: { 1: 'a', 2: 'b' },
    copies: { b: 1, c: 2 },
    now: { 1: 'b', 2: 'c' },
  },
  {
    title: 'copies: a tool that has another number than its copies',
    store: { 5: 'a', 6: 'b old' },
    copies: { b: 5 },
    now: {},
  },
  { title: 'copies: a number that two tools have', store: { 1: 'a' }, copies: { a: 1, b: 1 }, now: {} },
  { title: 'copies: two present names', store: { 1: 'a' }, copies: { b: 1, c: 1 }, now: /of b and of c/ },
  {
    title: 'copies: a number of an ended preview',
    store: { 1: 'a', 2: 'a-p of-a' },
    copies: { b: 2 },
    now: {},
  },
  {
    title: 'copies that are older than the last rename',
    store: { 1: 'a' },
    renames: ['1 a b', '1 b c'],
    copies: { b: 1 },
    now: { 1: 'c' },
  },
];

for (const { title, store, renames = [], copies = {}, now, ended = [] } of cases) {
  test(`threat 205: the server finds the present names of the tools of an older store, or a conflict: ${title}`, () => {
    const notes = renames.map((line, index) => {
      const [number = '', from = '', to = ''] = line.replace('+', '').split(' ');
      return { number: Number(number), from: from as ToolName, to: to as ToolName, at: index };
    });
    const tools = Object.entries(store).map(([number, text]) => {
      const [name = '', word = ''] = text.split(' ');
      const previewOf = word.startsWith('of-') ? (word.slice(3) as ToolName) : null;
      return {
        number: Number(number),
        name: name as ToolName,
        previewOf,
        lastVersion: word === 'old' ? 3 : 0,
      };
    });
    const plan = planNames({
      ...{ tools, notes, now: 99 },
      known: new Set(notes.filter((_, index) => renames[index]?.startsWith('+')).map(noteKey)),
      copied: new Map(Object.entries(copies) as [ToolName, number][]),
    });
    if (now instanceof RegExp) {
      assert.match(plan.conflict ?? '', now);
      assert.deepEqual(plan.names, []);
      return;
    }
    assert.equal(plan.conflict, null);
    assert.deepEqual(Object.fromEntries(plan.names.map(({ number, to }) => [number, to])), now);
    assert.deepEqual(plan.ended, ended);
  });
}
