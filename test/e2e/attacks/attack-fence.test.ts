import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

/**
 * A Python program. It prints how the kernel answers two system calls, and what a server at `port` of this machine
 * answers to a socket that is bound to a network device.
 */
const probe = (port: number) => `import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
keyctl = 250 if os.uname().machine == 'x86_64' else 219
def name(result): return 'OPEN' if result >= 0 else errno.errorcode[ctypes.get_errno()]
met = ['unshare ' + name(libc.unshare(0x10000000)), 'keyctl ' + name(libc.syscall(keyctl, 0, -3, 1))]
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.settimeout(1)
made.setsockopt(socket.SOL_SOCKET, 25, [n for _, n in socket.if_nameindex() if n != 'lo'][0].encode())
made.sendto(b'hello', ('127.0.0.1', ${port}))
try: met.append('loopback ' + made.recv(100).decode())
except OSError: met.append('loopback silent')
print(sys.argv[1], *met)
`;

test('threat 62: the network fence and the seccomp filter apply to builds, release commands, processes and one-offs', async () => {
  const inside = createSocket('udp4');
  inside.on('message', (_text, from) => inside.send('OPEN', from.port, from.address));
  inside.bind(0, '127.0.0.1');
  await once(inside, 'listening');
  await server.addTool('spy');
  const tree = await WorkTree.create(server, 'http', 'spy');
  const files = webTool('', 'python3 probe.py build');
  const serving = (files['server.py'] ?? '').replace('"".encode()', 'out');
  await tree.commit('one', {
    ...files,
    'probe.py': probe(inside.address().port),
    'server.py': `import subprocess\nout = subprocess.run(['python3', 'probe.py', 'web'], capture_output=True).stdout\n${serving}`,
    Procfile: 'web: python3 server.py\nrelease: python3 probe.py release\n',
  });
  const pushed = await tree.push();
  const { body } = await server.get('spy');
  const oneOff = await server.command('run', 'spy', 'python3', 'probe.py', 'one-off');
  inside.close();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  const all = [pushed.stderr, body, oneOff.stdout].join('\n');
  for (const where of ['build', 'release', 'web', 'one-off'])
    assert.match(all, new RegExp(`${where} unshare EPERM keyctl EPERM loopback silent`));
});
