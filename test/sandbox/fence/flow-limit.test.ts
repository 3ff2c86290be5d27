import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { isRoot } from '../sandbox-bench.ts';
import { INTERNET, Machine } from './machine.ts';

const { failed } = await execa('nft', ['--version'], { reject: false });
const skip = isRoot && !failed ? false : 'needs root and nftables';

/**
 * A Python program that keeps all TCP connections to the ports 9000 to 9002, and answers each UDP packet. On the ports
 * 9001 and 9002, it also ends its side of each connection.
 */
const KEEPER = `
import resource, socket, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
def answers(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('${INTERNET.ipv4}', port))
    while True:
        data, address = s.recvfrom(100)
        s.sendto(data, address)
for port in range(9000, 9003): threading.Thread(target=answers, args=(port,), daemon=True).start()
def half(listener):
    held = []
    while True:
        held.append(listener.accept()[0])
        held[-1].shutdown(socket.SHUT_WR)
for port in range(9001, 9003):
    closing = socket.create_server(('${INTERNET.ipv4}', port), backlog=4000)
    threading.Thread(target=half, args=(closing,), daemon=True).start()
listener = socket.create_server(('${INTERNET.ipv4}', 9000), backlog=4000)
print('ready', flush=True)
held = []
while True: held.append(listener.accept()[0])
`;

describe('limits on connections', { skip }, () => {
  let machine: Machine;
  let keeper: AsyncDisposable;
  before(async () => {
    machine = await Machine.create();
    const program = join(machine.data, 'keeper.py');
    await writeFile(program, KEEPER);
    keeper = await machine.servingOutside(program);
  });
  after(async () => {
    await keeper[Symbol.asyncDispose]();
    await machine[Symbol.asyncDispose]();
  });

  test('threat 256: a tool that sends 26,400 UDP messages from and to many ports adds fewer than 8,500 flows to the machine’s table of connections', async () => {
    const program = `
import socket
answered = 0
for port in range(61_000, 65_400):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('0.0.0.0', port))
        s.settimeout(0.001)
        for to in range(9000, 9003):
            for _ in range(2):
                try:
                    s.sendto(b'x', ('${INTERNET.ipv4}', to))
                    s.recv(10)
                    answered += 1
                except OSError: pass
print('answered', answered)
`;
    // With such a rule, as many machines have, the kernel keeps a table of connections.
    await machine.addRules(`table inet other {
      chain output {
        type filter hook output priority 1
        ct state new accept
      }
    }`);
    // By default, the kernel forgets a flow after 30 s. On a busy machine, the program runs longer.
    for (const name of ['udp_timeout', 'udp_timeout_stream'])
      await machine.setParameter(`net.netfilter.nf_conntrack_${name}`, '300');
    const before = await machine.flows();
    const output = await machine.output({ blocked: [], argv: ['python3', '-c', program] });
    const flows = (await machine.flows()) - before;
    assert.ok(flows > 3000 && flows < 8500, `${flows} flows, ${output}`);
  });

  test('threat 256: a tool has at most 4,000 TCP connections, so that others find a local port for the same address', async () => {
    const program = `
import os, resource, socket, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
def connected(count):
    held = []
    for _ in range(count):
        one = socket.socket()
        one.settimeout(5)
        try: one.connect(('${INTERNET.ipv4}', 9000))
        except OSError as error: print(error.strerror or error, flush=True); return held
        # pasta accepts before it has a connection outside, and then ends a connection that it cannot have.
        one.setblocking(False)
        held.append(one)
    return held
def alive(held):
    time.sleep(1)
    ended = 0
    for one in held:
        try: one.recv(1); ended += 1
        except BlockingIOError: pass
        except OSError: ended += 1
    return len(held) - ended
total = 0
pipes = []
for _ in range(3):
    out, to = os.pipe()
    if os.fork() == 0:
        held = connected(1450)
        os.write(to, b'%d\\n' % alive(held))
        time.sleep(4)
        os._exit(0)
    pipes.append(out)
print('alive', sum(int(os.read(one, 20)) for one in pipes))
`;
    const output = await machine.output({ blocked: [], argv: ['python3', '-c', program] });
    const alive = Number(/^alive (\d+)$/m.exec(output)?.[1]);
    assert.ok(alive > 3500 && alive <= 4000, output);
  });

  test('threat 256: the server ends a tool that keeps thousands of connections that the other side has closed and the kernel no longer tracks', async () => {
    // By default, the kernel forgets such a connection after a minute.
    await machine.setParameter('net.netfilter.nf_conntrack_tcp_timeout_close_wait', '1');
    const program = `
import os, resource, socket, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
for worker in range(14):
    if os.fork() == 0: break
held = []
for attempt in range(1900):
    one = socket.socket()
    one.settimeout(5)
    # A sandbox has some 4,500 local ports for connections to one port of an address.
    try: one.connect(('${INTERNET.ipv4}', 9001 + attempt % 2)); held.append(one)
    except OSError: pass
    time.sleep(0.005)
time.sleep(20)
print('nobody ended this')
`;
    const output = await machine.output({ blocked: [], argv: ['python3', '-c', program] });
    assert.equal(output, 'ended because it was over the limits of the kernel');
  });
});
