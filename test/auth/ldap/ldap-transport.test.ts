import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { BerReader } from 'ldapts';
import type { Directory } from '../../../src/auth/directory.ts';
import { toolName } from '../../../src/core/names.ts';
import { until } from '../../support/server.ts';
import { TestAuthority } from '../../support/slapd/certificates.ts';
import { openOn } from '../../support/slapd/directory.ts';
import { NO_TLS, startFakeLdap, TLS_MAY_BEGIN } from '../../support/slapd/fake-ldap.ts';
import { addPerson, addTool, personDn } from '../../support/slapd/people.ts';
import { READER_PASSWORD, TestSlapd } from '../../support/slapd/slapd.ts';

const signal = AbortSignal.timeout(120_000);
const hello = toolName('hello') ?? assert.fail();
const silent = { code: 'DIRECTORY_UNAVAILABLE' };
let slapd: TestSlapd;
let second: TestSlapd;
before(async () => {
  [slapd, second] = await Promise.all([TestSlapd.start(), TestSlapd.start()]);
  for (const each of [slapd, second]) {
    await addPerson(each, 'alice', { password: 'correct horse' });
    await addTool(each, 'hello', [personDn('alice')]);
  }
});
after(() => Promise.all([slapd[Symbol.asyncDispose](), second[Symbol.asyncDispose]()]));

const logIn = async (directory: Directory) =>
  (await directory.identifyByPassword('alice', 'correct horse', signal))?.uid ?? null;

/** How long `work` took, in milliseconds. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function directoryWith(
  settings: Readonly<Record<string, string>>,
  work: (directory: Directory) => Promise<void>,
) {
  const directory = await openOn(slapd, settings);
  try {
    await work(directory);
  } finally {
    await directory.close();
  }
}

describe('certificates of LDAP servers', () => {
  for (const [name, settings] of [
    ['ldaps', (port: number) => ({ ldap_servers: `ldaps://127.0.0.1:${port}` })],
    ['StartTLS', (port: number) => ({ ldap_servers: `ldap://127.0.0.1:${port}` })],
  ] as const) {
    for (const [fault, ca, names] of [
      ['of an unknown authority', 'other', 'IP:127.0.0.1'],
      ['for another host', 'ca', 'DNS:ldap.example.org,IP:127.0.0.2'],
    ] as const) {
      test(`threat 7: over ${name}, no password is sent to an LDAP server with a certificate ${fault}`, async () => {
        const authority = await TestAuthority.create(slapd.folder, `${ca}-${name}`);
        const { certificate, key } = await authority.issue(`bad-${ca}-${name}`, names);
        let said = 0;
        const options = { cert: await readFile(certificate), key: await readFile(key) };
        const tls = createTlsServer(options, (socket) => {
          socket
            .on('error', () => undefined)
            .on('data', (chunk: Buffer) => {
              said += chunk.length;
            });
        }).on('tlsClientError', () => undefined);
        await using server = await startFakeLdap((socket) => {
          socket.removeAllListeners('data');
          socket.write(TLS_MAY_BEGIN);
          tls.emit('connection', socket);
        });
        tls.listen(0, '127.0.0.1');
        await once(tls, 'listening');
        const { port } = name === 'ldaps' ? (tls.address() as AddressInfo) : server;
        const trusted = ca === 'ca' ? authority.ca : slapd.authority.ca;
        await directoryWith({ ...settings(port), ldap_ca: trusted }, async (directory) => {
          await assert.rejects(logIn(directory), (error: Error & { code: string }) => {
            assert.equal(error.code, 'DIRECTORY_UNAVAILABLE');
            assert.match(String((error.cause as Error).message), /certificate|altnames/i);
            return true;
          });
        });
        assert.equal(said, 0);
        tls.close();
      });
    }
  }

  test('if the file of ldap_ca changes, the server uses the new certificates without a restart', async () => {
    const file = join(slapd.folder, 'changing.pem');
    const other = await TestAuthority.create(slapd.folder, 'before');
    await copyFile(other.ca, file);
    await directoryWith({ ldap_ca: file }, async (directory) => {
      await assert.rejects(logIn(directory), silent);
      await copyFile(slapd.authority.ca, file);
      assert.equal(await logIn(directory), 'alice');
    });
  });

  test('threat 7: without ldap_ca, an unknown certificate authority is not trusted', async () => {
    await directoryWith({ ldap_ca: '' }, async (directory) => {
      await assert.rejects(logIn(directory), silent);
    });
  });
});

/** Runs `work` with the port of a proxy to slapd that replaces the result code of each failed bind by `result`. */
async function withResult(result: number, work: (port: number) => Promise<void>): Promise<void> {
  const server = createTcpServer((client) => {
    const upstream = connect(slapd.port, '127.0.0.1');
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.pipe(upstream).on('data', (chunk: Buffer) => {
      // 0a 01 31 is the result invalidCredentials, and 61 two bytes before is the tag of a BindResponse (RFC 4511,
      // 4.2.2).
      const at = chunk.indexOf(Buffer.from('0a0131', 'hex'));
      if (at >= 2 && chunk[at - 2] === 0x61) chunk[at + 2] = result;
      client.write(chunk);
    });
    client.once('close', () => upstream.destroy());
    upstream.once('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await work((server.address() as AddressInfo).port);
  } finally {
    server.close();
  }
}

describe('passwords that LDAP refuses', () => {
  for (const [name, result] of [
    ['unwillingToPerform (53)', 53],
    ['constraintViolation (19)', 19],
  ] as const) {
    test(`if LDAP answers a bind with ${name}, the login is refused, and the server reports no outage of LDAP`, async () => {
      await withResult(result, (port) =>
        directoryWith(
          { ldap_servers: `ldap://127.0.0.1:${port}`, ldap_starttls: 'false' },
          async (directory) => {
            assert.equal(await directory.identifyByPassword('alice', 'wrong', signal), null);
            assert.equal(await logIn(directory), 'alice');
          },
        ),
      );
    });
  }
});

describe('StartTLS', () => {
  // After the answer to StartTLS, an attacker adds a failed BindResponse in the clear. Its length also covers bytes
  // that would come over TLS.
  const injected = Buffer.concat([TLS_MAY_BEGIN, Buffer.from('3081f0020102617f0a010004000478', 'hex')]);
  const answers: readonly [string, (socket: Socket) => void][] = [
    ['that the LDAP server refuses', (socket) => socket.write(NO_TLS)],
    ['whose answer is followed by more clear text', (socket) => socket.write(injected)],
    [
      'whose answer comes in two parts, before something that is not TLS',
      (socket) => {
        socket.write(TLS_MAY_BEGIN.subarray(0, 5));
        setImmediate(() => socket.write(TLS_MAY_BEGIN.subarray(5), () => socket.write('this is no TLS')));
      },
    ],
    [
      'that is answered by something else',
      (socket) => socket.write(Buffer.from('300c02010161070a010004000400', 'hex')),
    ],
    ['that is answered by garbage', (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    [
      'that is answered by the head of a huge message',
      (socket) => socket.write(Buffer.from('30847fffffff', 'hex')),
    ],
    ['that the LDAP server answers by closing the connection', (socket) => socket.destroy()],
    ['that is accepted and then followed by silence', (socket) => socket.write(TLS_MAY_BEGIN)],
    ['that is never answered', () => undefined],
  ];
  for (const [name, answer] of answers) {
    test(`threat 7: after a StartTLS ${name}, no password is sent, and the login fails within the time limit`, async () => {
      await using server = await startFakeLdap((socket, chunk) => {
        if (chunk[0] === 0x30) answer(socket);
      });
      const settings = { ldap_servers: `ldap://127.0.0.1:${server.port}`, ldap_time: '1' };
      await directoryWith(settings, async (directory) => {
        const took = await timed(() => assert.rejects(logIn(directory), silent));
        assert.ok(took < 2000, `${took} ms`);
      });
      assert.ok(!Buffer.concat(server.received).includes(READER_PASSWORD));
      for (const chunk of server.received) assert.notEqual(operationOf(chunk), 0x60);
    });
  }
});

test('threat 6: with an ldap_time of 1 s, 600 questions to a silent LDAP server fail within 2.5 s; once this server answers, it is used again', async () => {
  await directoryWith({ ldap_time: '1' }, async (directory) => {
    assert.equal(await logIn(directory), 'alice');
    slapd.freeze();
    const names = Array.from({ length: 300 }, (_, at) => `person${at}`);
    const before = sockets();
    const all = Promise.allSettled([
      ...names.map((name) => directory.identifyByPassword(name, 'x', signal)),
      ...names.map((name) => directory.toolsOf(name, signal)),
    ]);
    await new Promise((resolve) => setImmediate(resolve));
    const took = await timed(async () => {
      const results = await all;
      for (const result of results) {
        assert.ok(result.status === 'rejected');
        assert.match(result.reason.code, /^DIRECTORY_(BUSY|UNAVAILABLE)$/);
      }
    });
    assert.ok(took < 2500, `${took} ms`);
    assert.ok(sockets() - before < 12, `${sockets()} sockets, ${before} before`);
    slapd.wake();
    assert.equal(await logIn(directory), 'alice');
  });
});

test('a restarted LDAP server is used again', async () => {
  for (const servers of [
    slapd.environment['TOOLFORGE_PUSH_LDAP_SERVERS'],
    `ldap://127.0.0.1:${slapd.port}`,
  ]) {
    await directoryWith({ ldap_servers: servers ?? '' }, async (directory) => {
      assert.ok(await directory.findTool(hello, signal));
      await slapd.stop();
      await assert.rejects(directory.findTool(hello, signal), silent);
      await assert.rejects(logIn(directory), silent);
      await slapd.boot();
      assert.ok(await directory.findTool(hello, signal));
      await slapd.stop();
      await slapd.boot();
      const answers = Array.from({ length: 20 }, () => directory.toolsOf('alice', signal));
      assert.deepEqual(new Set((await Promise.all(answers)).map(String)), new Set(['hello']));
      assert.equal(await logIn(directory), 'alice');
    });
  }
});

describe('several LDAP servers', () => {
  const both = () => ({
    ldap_servers: `ldap://127.0.0.1:${slapd.port} ldap://127.0.0.1:${second.port}`,
    ldap_starttls: 'false',
    ldap_time: '2',
  });

  test('if the first LDAP server is stopped, the second is asked, and the other way round', async () => {
    await directoryWith(both(), async (directory) => {
      assert.equal(await logIn(directory), 'alice');
      await slapd.stop();
      assert.equal(await logIn(directory), 'alice');
      await slapd.boot();
      await second.stop();
      assert.equal(await logIn(directory), 'alice');
      await slapd.stop();
      await assert.rejects(logIn(directory), silent);
      await Promise.all([slapd.boot(), second.boot()]);
      assert.equal(await logIn(directory), 'alice');
    });
  });

  test('threat 6: if the first LDAP server is silent, the second answers in time and is asked first from then on', async () => {
    await directoryWith(both(), async (directory) => {
      assert.ok(await directory.findTool(hello, signal));
      slapd.freeze();
      const took = await timed(() => directory.findTool(hello, signal));
      assert.ok(took < 2000, `${took} ms`);
      const next = await timed(() => directory.findTool(hello, signal));
      assert.ok(next < 500, `${next} ms`);
      slapd.wake();
    });
  });

  test('a password that the first LDAP server refuses is refused, even if the second server is stopped', async () => {
    await directoryWith(both(), async (directory) => {
      await second.stop();
      assert.equal(await directory.identifyByPassword('alice', 'wrong', signal), null);
      await second.boot();
    });
  });
});

describe('the account of ldap_bind_dn', () => {
  const file = () => join(slapd.folder, 'changing-password');

  test('if the password of ldap_bind_dn is wrong, logins report an outage; a corrected password needs no restart', async () => {
    await writeFile(file(), 'wrong\n');
    await directoryWith({ ldap_bind_password_file: file() }, async (directory) => {
      await assert.rejects(logIn(directory), silent);
      await assert.rejects(directory.findTool(hello, signal), silent);
      await writeFile(file(), `${READER_PASSWORD}\r\nsecond line\n`);
      assert.equal(await logIn(directory), 'alice');
    });
  });

  test('threat 1: if ldap_bind_password_file becomes empty, a lookup of a tool reports an outage', async () => {
    await writeFile(file(), `${READER_PASSWORD}\n`);
    await directoryWith({ ldap_bind_password_file: file() }, async (directory) => {
      await writeFile(file(), '\n');
      await assert.rejects(directory.findTool(hello, signal), silent);
    });
  });

  test('if ldap_bind_dn is empty and LDAP allows no anonymous search, a lookup of a tool reports an outage', async () => {
    await directoryWith({ ldap_bind_dn: '', ldap_bind_password_file: '' }, async (directory) => {
      await assert.rejects(directory.findTool(hello, signal), silent);
    });
  });
});

test('each password is checked on an LDAP connection of its own, which is closed after the check', async () => {
  let connections = 0;
  const upstream = new Map<Socket, Socket>();
  await using between = await startFakeLdap((socket, chunk) => {
    const up = upstream.get(socket) ?? connect(slapd.port, '127.0.0.1');
    if (!upstream.has(socket)) {
      connections += 1;
      upstream.set(socket, up);
      up.on('data', (answer) => socket.write(answer)).on('error', () => undefined);
      socket.once('close', () => up.destroy());
    }
    up.write(chunk);
  });
  const settings = { ldap_servers: `ldap://127.0.0.1:${between.port}`, ldap_starttls: 'false' };
  await directoryWith(settings, async (directory) => {
    assert.equal(await logIn(directory), 'alice');
    assert.equal(await logIn(directory), 'alice');
    assert.equal(await directory.identifyByPassword('alice', 'wrong', signal), null);
    assert.ok(await directory.findTool(hello, signal));
    assert.equal(connections, 4);
    await until(async () => between.open.size === 1, 'the ends of the three connections for passwords');
  });
  for (const socket of between.open) await once(socket, 'close');
});

function sockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
}

/** The operation of an LDAP message that is not encrypted, such as 0x60 for a bind. Null for other bytes. */
function operationOf(chunk: Buffer): number | null {
  const reader = new BerReader(chunk);
  if (chunk[0] !== 0x30 || reader.readSequence() === null) return null;
  reader.readInt();
  return reader.readSequence();
}

test('threat 110: an LDAP answer of 20,000 tiny messages does not end the server', async () => {
  await using server = await startFakeLdap((socket, chunk) => {
    const reader = new BerReader(chunk);
    reader.readSequence();
    const id = `0201${(reader.readInt() ?? 0).toString(16).padStart(2, '0')}`;
    const entry = Buffer.from(`3009${id}640404003000`, 'hex');
    const result = (operation: string) => Buffer.from(`300c${id}${operation}070a010004000400`, 'hex');
    if (operationOf(chunk) === 0x60) socket.write(result('61'));
    else socket.write(Buffer.concat([...Array.from({ length: 20_000 }, () => entry), result('65')]));
  });
  const settings = { ldap_servers: `ldap://127.0.0.1:${server.port}`, ldap_starttls: 'false' };
  await directoryWith(settings, async (directory) => {
    assert.deepEqual(await directory.toolsOf('alice', signal), []);
  });
});
