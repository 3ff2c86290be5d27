import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeInShort } from '../../../src/core/variables/config-changes.ts';

test('a change of config vars is described by the names that it sets and unsets, without values; of twelve names, ten are shown', () => {
  const many = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`V${index}`, 'x']));
  assert.equal(changeInShort({ A: 'value', B: 'value' }), 'Set A, B');
  assert.equal(changeInShort({ A: null }), 'Unset A');
  assert.equal(changeInShort({ A: 'value', B: null, C: null }), 'Set A; unset B, C');
  assert.equal(changeInShort(many), 'Set V0, V1, V2, V3, V4, V5, V6, V7, V8, V9 and 2 more');
});
