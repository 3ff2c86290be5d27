import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeFrames,
  encodeFrames,
  type Frame,
  MAX_PAYLOAD_BYTES,
} from '../../../src/cli/control/frames.ts';

async function decode(bytes: Uint8Array, pieceBytes: number): Promise<Frame[]> {
  async function* pieces() {
    for (let from = 0; from < bytes.length; from += pieceBytes) yield bytes.subarray(from, from + pieceBytes);
  }
  return await Array.fromAsync(decodeFrames(pieces()));
}

const whole = Buffer.concat([
  encodeFrames('out', Buffer.from('hällo\n')),
  encodeFrames('out', new Uint8Array()),
  encodeFrames('err', Buffer.from('no\n')),
  encodeFrames('exit', Uint8Array.of(130)),
]);

for (const pieceBytes of [1, 2, 5, 7, 1000]) {
  test(`frames of the local socket are read correctly from pieces of ${pieceBytes} bytes`, async () => {
    const frames = await decode(whole, pieceBytes);
    assert.deepEqual(
      frames.map(({ kind, payload }) => [kind, payload.toString('latin1')]),
      [
        ['out', Buffer.from('hällo\n').toString('latin1')],
        ['out', ''],
        ['err', 'no\n'],
        ['exit', '\u0082'],
      ],
    );
  });
}

test('a frame of the local socket is a letter, a big-endian length and the payload', () => {
  assert.deepEqual([...encodeFrames('err', Buffer.from('ab'))], [0x65, 0, 0, 0, 2, 0x61, 0x62]);
});

test('a long text is sent over the local socket as several frames', async () => {
  const text = Buffer.alloc(MAX_PAYLOAD_BYTES * 2 + 1, 'x');
  const frames = await decode(encodeFrames('out', text), 100_000);
  assert.deepEqual(
    frames.map(({ payload }) => payload.length),
    [MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, 1],
  );
  assert.ok(Buffer.concat(frames.map(({ payload }) => payload)).equals(text));
});

test('a frame of the local socket that is cut off at the end of the stream is ignored', async () => {
  assert.equal((await decode(whole.subarray(0, -1), 3)).length, 3);
});

test('bytes that are not a frame of the local socket are refused at once, without waiting for more', async () => {
  await assert.rejects(decode(Buffer.from('HTTP/1.1'), 8), /begins with the byte 72/);
  await assert.rejects(decode(Buffer.from([0x6f, 0xff, 0xff, 0xff, 0xff]), 5), /too long/);
});
