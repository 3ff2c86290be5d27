import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import type { Directory } from '../../../src/auth/directory.ts';
import { AnswerTooLarge, AnswerTotal, LdapAnswers } from '../../../src/auth/ldap/connection/ldap-answers.ts';
import { toolName } from '../../../src/core/names.ts';
import { openOn } from '../../support/slapd/directory.ts';
import { startFakeLdap } from '../../support/slapd/fake-ldap.ts';
import { entry, type Request, reference, requestsIn, result } from '../../support/slapd/ldap-messages.ts';
import { BASE, TestSlapd } from '../../support/slapd/slapd.ts';

const signal = AbortSignal.timeout(120_000);
const hello = toolName('hello') ?? assert.fail();
const MIB = 1024 * 1024;
const PEOPLE = `ou=people,${BASE}`;
const GROUPS = `ou=servicegroups,${BASE}`;
/** Tests take their LDAP settings from this slapd, but send their questions to a fake LDAP server. */
let slapd: TestSlapd;
before(async () => {
  slapd = await TestSlapd.start();
});
after(() => slapd[Symbol.asyncDispose]());

interface Asked {
  readonly directory: Directory;
  readonly logged: Record<string, unknown>[];
  readonly open: ReadonlySet<Socket>;
}

/** Runs `work` with a user directory whose LDAP server accepts each bind, and answers each search with `answer`. */
async function withServer(
  answer: (socket: Socket, request: Request) => unknown,
  work: (asked: Asked) => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  await using server = await startFakeLdap((socket, chunk) => {
    for (const request of requestsIn(chunk)) {
      if (request.isBind) socket.write(result(request));
      else answer(socket, request);
    }
  });
  const logged: Record<string, unknown>[] = [];
  const write = (line: unknown, _encoding: unknown, done: () => void) => {
    logged.push(JSON.parse(String(line)));
    done();
  };
  const log = pino({ base: null }, new Writable({ write }));
  const servers = { ldap_servers: `ldap://127.0.0.1:${server.port}`, ldap_starttls: 'false' };
  const directory = await openOn(slapd, { ...servers, ...settings }, log);
  try {
    await work({ directory, logged, open: server.open });
  } finally {
    await directory.close();
  }
}

/** Sends `chunk` again and again, until the client ends the connection or 256 MiB are sent. @returns the bytes sent. */
async function pour(socket: Socket, chunk: Buffer): Promise<number> {
  let sent = 0;
  for (; !socket.destroyed && sent < 256 * MIB; sent += chunk.length) {
    if (socket.write(chunk)) await setImmediate();
    else await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
  }
  return sent;
}

/** Answers a search with the entry of the person `uid`. */
function tellPerson(socket: Socket, request: Request, uid: string): void {
  socket.write(Buffer.concat([entry(request.id, `uid=${uid},${PEOPLE}`, { uid: [uid] }), result(request)]));
}

const repeat = (count: number, make: (index: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));

for (const [name, chunkFor] of [
  [
    'small entries',
    (id: number) => repeat(200, (index) => entry(id, `uid=x${index},${PEOPLE}`, { uid: [`x${index}`] })),
  ],
  ['referrals', (id: number) => repeat(1000, () => reference(id))],
  [
    'entries with thousands of tiny values',
    (id: number) =>
      entry(id, `uid=x,${PEOPLE}`, {
        sshPublicKey: Array.from({ length: 20_000 }, (_, index) => `k${index}`),
      }),
  ],
] as const) {
  test(`threat 250: an LDAP answer of endless ${name} ends its connection, the person learns that the answer is too large, and the log has its size`, async () => {
    const poured: Promise<number>[] = [];
    await withServer(
      (socket, request) => {
        if (request.text.includes('eve')) poured.push(pour(socket, chunkFor(request.id)));
        else tellPerson(socket, request, 'alice');
      },
      async ({ directory, logged }) => {
        await assert.rejects(directory.identifyByPassword('eve', 'x', signal), {
          code: 'DIRECTORY_UNAVAILABLE',
          message: 'the user directory (LDAP) sends an answer that is too large',
        });
        const [sent = 0, ...others] = await Promise.all(poured);
        assert.ok(sent < 64 * MIB, `the server took ${sent} bytes`);
        assert.equal(others.length, 0);
        const lines = logged.filter(({ msg }) => msg === 'LDAP server failed');
        assert.equal(lines.length, 1);
        const { err } = lines[0] as { err: { message: string } };
        assert.match(err.message, /too large: it has reached [89]\d{6} bytes in \d+ messages/);
        assert.equal((await directory.identifyByPassword('alice', 'x', signal))?.uid, 'alice');
      },
    );
  });
}

test('threat 250: all pages of a list in LDAP count as one answer, and all unfinished answers together have a limit', async () => {
  const total = new AnswerTotal();
  const keys = { sshPublicKey: Array.from({ length: 200 }, (_, index) => `${index} ${'x'.repeat(2000)}`) };
  /** Receives `count` pages with one entry each. @returns how many pages came. */
  const list = (count: number, isListing: boolean, until: Promise<void>) => {
    const answers = new LdapAnswers(total);
    let pages = 0;
    const receive = async () => {
      for (; pages < count; pages += 1) {
        answers.requested(result({ id: pages + 2, isBind: false, text: '' }));
        answers.count(entry(pages + 2, `uid=x,${PEOPLE}`, keys));
        answers.count(result({ id: pages + 2, isBind: false, text: '' }));
      }
      await until;
      return pages;
    };
    return answers.receive(receive, { isListing });
  };
  const now = Promise.resolve();
  assert.equal(await list(150, true, now), 150);
  await assert.rejects(list(170, true, now), AnswerTooLarge);
  assert.equal(await list(18, false, now), 18);
  await assert.rejects(list(24, false, now), AnswerTooLarge);
  assert.equal(total.size, 0);
  const later = Promise.withResolvers<void>();
  const unfinished = [list(150, true, later.promise), list(150, true, later.promise)];
  await assert.rejects(list(100, true, now), AnswerTooLarge);
  later.resolve();
  assert.deepEqual(await Promise.all(unfinished), [150, 150]);
  assert.equal(await list(100, true, now), 100);
  assert.equal(total.size, 0);
});

test('threat 250: a bind that LDAP answers with endless entries fails', async () => {
  let sent = Promise.resolve(0);
  await using server = await startFakeLdap((socket, chunk) => {
    for (const { id } of requestsIn(chunk))
      sent = pour(
        socket,
        repeat(200, () => entry(id, 'uid=x', {})),
      );
  });
  const settings = {
    ldap_servers: `ldap://127.0.0.1:${server.port}`,
    ldap_starttls: 'false',
  };
  const directory = await openOn(slapd, settings);
  await assert.rejects(directory.toolsOf('alice', signal), {
    code: 'DIRECTORY_UNAVAILABLE',
    message: /too large/,
  });
  assert.ok((await sent) < 64 * MIB);
  await directory.close();
});

test('threat 250: when a time limit ends a question whose LDAP answer does not end, the connection ends although other questions use it', async () => {
  const endless = new Set<Socket>();
  const limit = AbortSignal.timeout(30_000);
  await withServer(
    async (socket, request) => {
      if (request.text.includes(GROUPS) && request.text.includes('tools.hello')) {
        // The question about the members begins late, so the time limit of the whole lookup ends before the time limit
        // of this question.
        await wait(700);
        const member = `uid=eve,${PEOPLE}`;
        socket.write(
          entry(request.id, `cn=tools.hello,${GROUPS}`, { cn: ['tools.hello'], member: [member] }),
        );
        socket.write(result(request));
      } else if (request.text.includes('eve')) {
        endless.add(socket);
        const slow = setInterval(() => socket.write(entry(request.id, 'uid=x', {})), 20);
        socket.once('close', () => clearInterval(slow));
      } else socket.write(result(request));
    },
    async ({ directory, open }) => {
      const failed = assert.rejects(directory.findTool(hello, signal), { code: 'DIRECTORY_UNAVAILABLE' });
      let isOver = false;
      failed.then(() => {
        isOver = true;
      });
      const asking = async () => {
        while (!isOver || [...endless].some((socket) => open.has(socket))) {
          assert.ok(!limit.aborted, 'the connection with the endless answer stays open');
          assert.deepEqual(await directory.toolsOf('bob', signal), []);
          await wait(20);
        }
      };
      await Promise.all([failed, asking()]);
      assert.equal(endless.size, 1);
    },
    { ldap_time: '2' },
  );
});

test('threat 251: a bad LDAP answer to one question does not fail the questions of other people on the same connection', async () => {
  for (const [name, bad] of [
    ['no LDAP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['nothing but the end of the connection', null],
  ] as const) {
    const waiting: (() => void)[] = [];
    let asked = 0;
    await withServer(
      (socket, request) => {
        if (request.text.includes('eve')) {
          asked += 1;
          if (bad === null) socket.destroy();
          else socket.write(bad);
          return;
        }
        // Other people get no answer before eve has asked. Her bad answer ends their connection, so the server must ask
        // again on another connection.
        const answer = () => socket.writable && socket.write(result(request));
        if (asked > 0) answer();
        else waiting.push(answer);
      },
      async ({ directory }) => {
        const people = Array.from({ length: 10 }, (_, index) => directory.toolsOf(`person${index}`, signal));
        const answers = Promise.all(people);
        answers.catch(() => undefined);
        while (waiting.length < people.length) await wait(5, undefined, { signal });
        await assert.rejects(directory.identifyByPassword('eve', 'x', signal), {
          code: 'DIRECTORY_UNAVAILABLE',
        });
        assert.deepEqual(
          await Promise.all(people),
          people.map(() => []),
          name,
        );
        assert.equal(asked, 2);
      },
    );
  }
});
