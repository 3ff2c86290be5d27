import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dataFolder, runIn, sandboxIn } from '../sandbox-bench.ts';

test('threat 244: a program cannot list one file more than 2,048 times in a call of poll(2), because each write to the file would walk all these entries', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const program = `
import ctypes, errno, os, resource, struct
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
libc = ctypes.CDLL(None, use_errno=True)
file = os.pipe()[0]
for count in (2000, 2049, 16384):
    entries = ctypes.create_string_buffer(struct.pack('ihh', file, 1, 0) * count)
    print(count, 'waited' if libc.poll(entries, ctypes.c_ulong(count), 1) == 0 else errno.errorcode[ctypes.get_errno()])
try: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most + 1))
except (ValueError, PermissionError): print('no more')`;
  const { output } = await runIn(sandbox, ['/usr/bin/python3', '-c', program]);
  assert.equal(output, '2000 waited\n2049 EINVAL\n16384 EINVAL\nno more\n');
});

test('a program in a sandbox has a limit of 1 byte for core dumps, because the kernel then starts no program of the machine after a crash', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const program = 'import resource; print(resource.getrlimit(resource.RLIMIT_CORE))';
  const { output } = await runIn(sandbox, ['/usr/bin/python3', '-c', program]);
  assert.equal(output, '(1, 1)\n');
});
