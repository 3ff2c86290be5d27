import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { BerReader } from 'ldapts';
import { AnswerTotal, LdapAnswers } from '../../../src/auth/ldap/connection/ldap-answers.ts';
import { LdapMessages, readByMessages } from '../../../src/auth/ldap/connection/ldap-messages.ts';
import { startFakeLdap } from '../../support/slapd/fake-ldap.ts';
import { entry, result } from '../../support/slapd/ldap-messages.ts';

/** A part of an LDAP message, with its length in four bytes. */
function part(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const head = Buffer.from([tag, 0x84, 0, 0, 0, 0]);
  head.writeUInt32BE(content.length, 2);
  return Buffer.concat([head, content]);
}

function message(id: number, operation: number, name: string, bytes: number): Buffer {
  const attributes = part(0x30, Buffer.alloc(bytes, 'x'));
  return part(0x30, Buffer.from([2, 1, id]), part(operation, part(0x04, Buffer.from(name)), attributes));
}

/** Reads the messages of `stream` in chunks of `sizes` bytes, one size after the other. */
function read(stream: Buffer, sizes: readonly number[]): Buffer[] {
  const messages = new LdapMessages();
  const found: Buffer[] = [];
  for (let at = 0, turn = 0; at < stream.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    found.push(...messages.read(stream.subarray(at, at + size)));
    at += size;
  }
  return found;
}

for (const sizes of [[1], [3, 1, 70_000], [65_536], [5_000_000]]) {
  test(`threat 204: of LDAP messages that arrive in chunks of ${sizes.join(', ')} bytes, only an entry that is too long is shortened to its message number and its name`, () => {
    const small = [message(1, 0x64, 'uid=a', 10), Buffer.from('300c02010165070a010004000400', 'hex')];
    const long = message(7, 0x64, 'uid=eve,ou=people', sizes[0] === 1 ? 1_100_000 : 3_000_000);
    const [first, entry, second, third, ...others] = read(
      Buffer.concat([...small.slice(0, 1), long, ...small, long]),
      sizes,
    );
    assert.deepEqual([first, second, third], [small[0], small[0], small[1]]);
    assert.equal(others.length, 1);
    assert.ok(entry !== undefined);
    const reader = new BerReader(entry);
    reader.readSequence(0x30);
    assert.equal(reader.readInt(), 7);
    reader.readSequence(0x64);
    assert.equal(reader.readString(), 'uid=eve,ou=people');
    assert.ok(entry.length < 200);
  });
}

test('threat 204: an LDAP message that is too long and is not an entry, or bytes that are not LDAP, end the connection', () => {
  assert.throws(() => read(message(1, 0x65, '', 2_000_000), [65_536]), /a message of 2\d{6} bytes/);
  assert.throws(() => read(Buffer.from('HTTP/1.1 400'), [4]), /not an LDAP message/);
  assert.throws(() => read(Buffer.from('3080', 'hex'), [1]), /without a valid length/);
});

test('threat 250: however many LDAP connections send long answers at once, one turn of the event loop reads only a few chunks of them', async (t) => {
  const answer = Buffer.concat(
    Array.from({ length: 1000 }, () => entry(2, 'uid=x', { key: ['x'.repeat(2000)] })),
  );
  await using server = await startFakeLdap((socket) => socket.write(answer));
  const [total, ended] = [new AnswerTotal(), Promise.withResolvers<void>()];
  let [read, most, all] = [0, 0, 0];
  for (let count = 0; count < 8; count += 1) {
    const socket = connect(server.port, '127.0.0.1');
    t.after(() => socket.destroy());
    const answers = new LdapAnswers(total);
    readByMessages(socket, answers);
    socket.on('data', (chunk) => {
      read += chunk.length;
    });
    void answers.receive(() => {
      socket.write(result({ id: 2, isBind: false, text: '' }));
      return ended.promise;
    });
  }
  for (; all < 8 * answer.length; read = 0) {
    await setImmediate();
    most = Math.max(most, read);
    all += read;
  }
  ended.resolve();
  assert.ok(most < 512 * 1024, `${most} bytes in one turn`);
});
