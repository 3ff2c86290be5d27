import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isRoot } from '../sandbox-bench.ts';
import { CLOUD, GATEWAY, INTERNET, MACHINE, Machine } from './machine.ts';

const attack = await readFile(join(import.meta.dirname, 'attack.py'), 'utf8');
const CLOUD_NETWORKS = [`${CLOUD.ipv4}/32`, `${CLOUD.ipv6}/128`];
const PLAIN_USER = 65_534;

const attackOn = (...hosts: readonly string[]) => ['python3', '-c', attack, '0.6', ...hosts];
// Neighbour discovery can lose the first IPv6 packet, so each of these attempts may take 3 s.
const reachFor = (...hosts: readonly string[]) => ['python3', '-c', attack, '3', ...hosts];

describe('the fence around a sandbox', { skip: !isRoot }, () => {
  let machine: Machine;
  before(async () => {
    machine = await Machine.create();
  });
  after(async () => machine[Symbol.asyncDispose]());

  for (const uid of [0, PLAIN_USER]) {
    const who = uid === 0 ? 'root' : 'a plain user';

    test(`threat 62: no socket of a sandbox reaches a blocked network, even if it is bound to the sandbox’s eth0 (the server runs as ${who})`, async () => {
      const translated = `64:ff9b::${CLOUD.ipv4}`;
      const argv = attackOn(CLOUD.ipv4, CLOUD.ipv6, `::ffff:${CLOUD.ipv4}`, translated);
      const output = await machine.output({ blocked: CLOUD_NETWORKS, argv }, { uid });
      assert.match(output, /^169\.254\.169\.254 tcp ECONNREFUSED: unbound, .*bound to eth0,/m);
      assert.match(output, /^fd00:ec2::254 tcp ECONNREFUSED: unbound, .*bound to eth0,/m);
      assert.match(output, /^64:ff9b::169\.254\.169\.254 tcp ECONNREFUSED: unbound, .*bound to eth0,/m);
      assert.doesNotMatch(output, /answer|secret/);
    });

    test(`threat 62: no socket of a sandbox reaches an address of the machine itself (the server runs as ${who})`, async () => {
      const link = `${await machine.linkAddress()}%eth0`;
      const groups = ['10.77.0.255', '255.255.255.255', '224.0.0.251', 'ff02::1%eth0'];
      const mapped = MACHINE.ipv4.map((address) => `::ffff:${address}`);
      const hosts = [...MACHINE.ipv4, ...MACHINE.ipv6, ...mapped, link, ...groups, '0.0.0.0', '::'];
      const output = await machine.output({ blocked: [], argv: attackOn(...hosts) }, { uid });
      for (const host of hosts) assert.match(output, new RegExp(`^${host} tcp `, 'm'));
      assert.doesNotMatch(output, /answer|secret/);
    });

    test(`threat 62: UDP that a tool sends opens no UDP port of this machine below 61000 (the server runs as ${who})`, async () => {
      const program = `
import socket, time
for port in [*range(40_000, 40_200), 0]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('0.0.0.0', port))
        s.sendto(b'x', ('${INTERNET.ipv4}', 9))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.bind(('::', port))
        s.sendto(b'x', ('${INTERNET.ipv6}', 9))
time.sleep(0.3)
print('sent', flush=True)
time.sleep(600)`;
      let ports: number[] = [];
      for await (const line of machine.sandboxed(
        { blocked: [], argv: ['python3', '-c', program] },
        { uid },
      )) {
        assert.equal(line, 'sent');
        ports = await machine.udpPorts();
        break;
      }
      assert.ok(ports.length >= 2, `${ports}`);
      assert.deepEqual(
        ports.filter((port) => port < 61_000 && port !== 8000),
        [],
      );
    });

    test(`threat 62: running sandboxes cannot reach an address that the machine gets later (the server runs as ${who})`, async () => {
      const addresses = uid === 0 ? ['10.77.0.50', 'fd77::50'] : ['10.77.0.51', 'fd77::51'];
      const loop = `import time\nfor i in range(60):\n  exec(attack)\n  print('round', flush=True)\n  time.sleep(0.2)`;
      const argv = ['python3', '-c', `attack = ${JSON.stringify(attack)}\n${loop}`, '0.6', ...addresses];
      let rounds = 0;
      let seen = '';
      for await (const line of machine.sandboxed({ blocked: [], argv }, { uid })) {
        seen += `${line}\n`;
        if (line !== 'round') continue;
        rounds += 1;
        if (rounds === 1)
          for (const address of addresses)
            await machine.addAddress(`${address}/${address.includes(':') ? 64 : 24}`);
        if (rounds === 4) break;
        if (rounds < 4) seen = '';
      }
      for (const address of addresses)
        assert.match(seen, new RegExp(`^${address} tcp ECONNREFUSED: unbound, .*bound to eth0,`, 'm'));
      assert.doesNotMatch(seen, /answer|secret/);
    });
  }

  test('a sandbox can reach addresses outside of the machine, by IPv4 and IPv6', async () => {
    const argv = reachFor(INTERNET.ipv4, INTERNET.ipv6);
    const output = await machine.output({ blocked: CLOUD_NETWORKS, argv });
    assert.match(output, /^203\.0\.113\.8 tcp answer from outside: unbound, .*bound to eth0,/m);
    assert.match(output, /^2001:db8:8::8 tcp answer from outside: unbound, .*bound to eth0,/m);
    assert.match(output, /^203\.0\.113\.8 udp answer from outside: unbound/m);
  });

  test('threat 62: if the machine’s own subnet is blocked, sandboxes reach the internet through its gateway, but not the gateway itself', async () => {
    const argv = reachFor(GATEWAY.ipv4, GATEWAY.ipv6, INTERNET.ipv4, INTERNET.ipv6);
    const output = await machine.output({ blocked: ['10.0.0.0/8', 'fd00::/8'], argv });
    assert.match(output, /^10\.77\.0\.1 tcp ECONNREFUSED: unbound, .*bound to eth0,/m);
    assert.match(output, /^fd77::1 tcp ECONNREFUSED: unbound, .*bound to eth0,/m);
    assert.match(output, /^203\.0\.113\.8 tcp answer from outside: unbound/m);
    assert.match(output, /^2001:db8:8::8 tcp answer from outside: unbound/m);
    assert.doesNotMatch(output, /^(10\.77\.0\.1|fd77::1) .*answer/m);
  });

  test('threat 218: a tool that sends to thousands of addresses of the machine’s network does not fill the table of neighbours of the kernel', async () => {
    // Drops the packets that pasta passes on. Otherwise, the machine itself would get new neighbours in this test.
    await machine.addRules(`table inet neighbours {
      chain out { type filter hook output priority 0; ip6 daddr fd77::77:0/112 drop; }
    }`);
    const program = `
import collections, errno, socket, time
failed = collections.Counter()
def send(family, flags, address):
    try: sockets[family][-1].sendto(b'x', flags, (address, 9))
    except OSError as error: failed[errno.errorcode[error.errno]] += 1
sockets = {socket.AF_INET: [], socket.AF_INET6: []}
for number in range(3000):
    # A socket waits while a few hundred of its packets wait for the addresses of neighbours.
    if number % 100 == 0:
        for family, made in sockets.items(): made.append(socket.socket(family, socket.SOCK_DGRAM))
        sockets[socket.AF_INET][-1].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
    send(socket.AF_INET6, 0, f'fd77::77:{number:x}')
    # Without routes, a socket that is bound to a device sends to each address as to a neighbour.
    send(socket.AF_INET, socket.MSG_DONTROUTE, f'10.99.{number >> 8}.{number & 255}')
    if number % 20 == 0: time.sleep(0.002)
print(dict(failed))`;
    const output = await machine.output({ blocked: [], argv: ['python3', '-c', program] });
    assert.equal(output, '{}');
  });

  test('threat 62: curl in a sandbox cannot reach the cloud’s metadata service, even if it binds to the network device', async () => {
    const urls = [
      `http://${CLOUD.ipv4}:8000/`,
      `http://[${CLOUD.ipv6}]:8000/`,
      `http://${INTERNET.ipv4}:8000/`,
    ];
    const argv = [
      'sh',
      '-c',
      'for u; do curl -sS -m 2 --interface eth0 "$u" 2>&1; echo; done',
      'sh',
      ...urls,
    ];
    const output = await machine.output({ blocked: CLOUD_NETWORKS, argv });
    assert.equal(output.match(/curl: \(7\)/g)?.length, 2, output);
    assert.match(output, /answer from outside$/);
  });

  for (const { blocked, address } of [
    { blocked: [], address: MACHINE.ipv4[1] },
    { blocked: ['169.254.0.0/16'], address: MACHINE.ipv4[0] },
  ]) {
    test(`a sandbox resolves names if the name server is this machine at ${address} and ${blocked[0] ?? 'nothing'} is blocked`, async () => {
      await using resolver = await machine.serving(join(import.meta.dirname, 'resolver.py'), `${address}`);
      assert.ok(resolver);
      const argv = ['getent', 'ahostsv4', 'example.org'];
      const output = await machine.output({ blocked, argv }, { resolver: `nameserver ${address}\n` });
      assert.match(output, /^192\.0\.2\.77 /);
    });
  }
});

test('threat 62: sandboxes are also kept away from blocked networks on a machine without IPv6', {
  skip: !isRoot,
}, async () => {
  await using machine = await Machine.create({ isIpv6: false });
  const argv = attackOn(
    CLOUD.ipv4,
    MACHINE.ipv4[1] ?? '',
    `${await machine.linkAddress()}%eth0`,
    INTERNET.ipv4,
  );
  const output = await machine.output({ blocked: CLOUD_NETWORKS, argv });
  assert.match(output, /^169\.254\.169\.254 tcp ECONNREFUSED: unbound, .*bound to eth0,/m);
  assert.match(output, /^203\.0\.113\.8 tcp answer from outside: unbound/m);
  assert.doesNotMatch(output, /secret/);
});
