import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MarkedOutput } from '../../src/run/marked-output.ts';

const mark = Buffer.from('\0mark');

/** Returns the part of a text that is passed on, if the text comes in pieces of this length. */
function passed(text: string, pieceLength: number, isOpen = false): string {
  const between = new MarkedOutput(mark, isOpen);
  let out = '';
  for (let at = 0; at < text.length; at += pieceLength) {
    out += Buffer.from(between.pass(Buffer.from(text.slice(at, at + pieceLength), 'latin1'))).toString(
      'latin1',
    );
  }
  return out + Buffer.from(between.end()).toString('latin1');
}

for (const { name, text, expected, isOpen } of [
  { name: 'text before, between and after', text: 'a\0markb\0markc', expected: 'b' },
  { name: 'nothing between', text: '\r\n\0mark\0mark', expected: '' },
  { name: 'no mark', text: 'all of it', expected: '' },
  { name: 'a missing second mark', text: '\0markb\0mar', expected: 'b\0mar' },
  { name: 'almost a mark', text: '\0markx\0ma\0\0mark', expected: 'x\0ma\0' },
  { name: 'a stream that is open already', text: 'x\0marky', expected: 'x', isOpen: true },
]) {
  for (const pieceLength of [1, 2, 3, 7, 100]) {
    test(`a stream has two random marks around the output of a one-off, and only the part between the marks is passed on: ${name}, in pieces of ${pieceLength} bytes`, () => {
      assert.equal(passed(text, pieceLength, isOpen), expected);
    });
  }
}

test('after the mark at the beginning of a one-off’s output, each piece is passed on immediately, until the mark at the end comes', () => {
  const between = new MarkedOutput(mark, true);
  assert.equal(String(between.pass(Buffer.from('prompt> '))), 'prompt> ');
  assert.equal(between.isOver, false);
  between.pass(mark);
  assert.equal(between.isOver, true);
});
