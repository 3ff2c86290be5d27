import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommandListReader, encodeCommandList } from '../../../src/git/push/command-list.ts';
import { flushPacket, pktLine } from '../../../src/git/push/pkt-line.ts';

const a = 'a'.repeat(40);
const b = 'b'.repeat(40);
const capabilities = ' report-status side-band-64k push-options object-format=sha1 agent=git/2.39.5';

function sample(options: readonly string[]): Buffer {
  const lines = [
    pktLine(`shallow ${a}`),
    pktLine(`${a} ${b} refs/heads/main\0${capabilities}`),
    pktLine(`${a} ${b} refs/tags/v1`),
  ];
  return Buffer.concat([...lines, flushPacket, ...options.map((option) => pktLine(option)), flushPacket]);
}

for (const size of [1, 3, 7, 64, 10_000]) {
  test(`the server reads the command list of a push from chunks of ${size} bytes, and leaves the bytes of the pack unread`, () => {
    const bytes = Buffer.concat([sample(['detach', 'message=Grüße']), Buffer.from('PACK…')]);
    const reader = new CommandListReader();
    let list = null;
    let start = 0;
    for (; list === null; start += size) list = reader.push(bytes.subarray(start, start + size));
    assert.deepEqual(
      list.commands.map(({ ref }) => ref),
      ['refs/heads/main', 'refs/tags/v1'],
    );
    assert.deepEqual(list.pushOptions, ['detach', 'message=Grüße']);
    assert.deepEqual(list.shallow, [a]);
    assert.ok(list.capabilities.has('side-band-64k'));
    assert.equal(Buffer.concat([reader.rest, bytes.subarray(start)]).toString(), 'PACK…');
  });
}

test('if the server encodes the command list of a push for git and reads the result, it gets the same list', () => {
  const list = new CommandListReader().push(sample(['no-cache']));
  assert.ok(list !== null);
  assert.deepEqual(new CommandListReader().push(encodeCommandList(list)), list);
});

test('threat 37: of the capabilities that a client sends, the server passes only known capabilities on to git, and only in their known form', () => {
  const odd =
    'side-band-64k=1 push-options=1\tatomic=1 report-status\vquiet\u00a0 side-band-64 agent= agent=a/1\x01 foo=bar';
  for (const [said, given] of [
    [odd, ['report-status', 'quiet']],
    [
      'agent=git/2.39.5-Debian object-format=sha1  session-id=a.b side-band-64k',
      ['agent=git/2.39.5-Debian', 'object-format=sha1', 'session-id=a.b', 'side-band-64k'],
    ],
  ] as const) {
    const list = new CommandListReader().push(
      Buffer.concat([pktLine(`${a} ${b} refs/heads/main\0${said}`), flushPacket]),
    );
    assert.ok(list !== null);
    assert.deepEqual([...list.capabilities], given);
    assert.equal(
      encodeCommandList(list).toString().split('\0')[1]?.replace(/0000$/, ''),
      ` ${given.join(' ')}`,
    );
  }
});

for (const { name, bytes } of [
  { name: 'no pkt-line', bytes: Buffer.from('GET / HTTP/1.1\r\n') },
  { name: 'a length of 3', bytes: Buffer.from('0003x') },
  { name: 'no ref update', bytes: pktLine('hello') },
  { name: 'a ref name with a newline', bytes: pktLine(`${a} ${b} refs/heads/x\ny`) },
  {
    name: 'a ref name that an answer has no room for',
    bytes: pktLine(`${a} ${b} refs/heads/${'x'.repeat(60_000)}`),
  },
  {
    name: 'a ref name that is three times as long in UTF-8',
    bytes: pktLine(Buffer.concat([Buffer.from(`${a} ${b} refs/`), Buffer.alloc(30_000, 0xff)])),
  },
  { name: 'a push certificate', bytes: pktLine('push-cert\0 report-status') },
]) {
  test(`threat 33: a push is refused if its command list is invalid: ${name}`, () => {
    assert.throws(() => new CommandListReader().push(bytes));
  });
}

test('threat 37: an endless command list is refused at 1 MiB', () => {
  const reader = new CommandListReader();
  const line = pktLine(`${a} ${b} refs/tags/${'x'.repeat(1000)}`);
  assert.throws(() => {
    for (let count = 0; count < 2000; count += 1) reader.push(line);
  }, /longer than 1 MiB/);
});

for (const [what, before, line, after] of [
  ['refs', '', pktLine(`${a} ${b} refs/tags/v1\0${capabilities}`), ''],
  ['commits where its shallow clone ends', '', pktLine(`shallow ${a}`), ''],
  ['push options', `${pktLine(`${a} ${b} refs/heads/main\0${capabilities}`)}0000`, '0004', '0000'],
] as const) {
  test(`threat 185: of a push with too many ${what}, the server reads only as many lines as the limit allows`, () => {
    const bytes = Buffer.from(`${before}${line.toString().repeat(5000)}${after}`);
    const reader = new CommandListReader(100);
    const list = reader.push(bytes);
    assert.ok(list?.isCut);
    const lines = list.commands.length + list.shallow.length + list.pushOptions.length;
    assert.equal(lines, 100);
  });
}
