// A separate process that watches the addresses of this machine. It has no file descriptor left when the program that
// tells it of changes ends. It prints `watching` if such a program runs again once there are descriptors.
import { closeSync, openSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { watchAddresses } from '../../../src/sandbox/fence/machine-addresses.ts';
import { argumentsOf, childrenOf } from '../../../src/sandbox/process/process-table.ts';

const monitors = () => childrenOf(process.pid).filter((pid) => argumentsOf(pid).includes('monitor'));

watchAddresses(() => undefined);
// The child begins as a copy of this process, becomes setpriv, and then `ip monitor`. While it becomes another program,
// it has no arguments for a moment.
let monitor: number | undefined;
for (let count = 0; count < 100 && monitor === undefined; count += 1) {
  await wait(100);
  [monitor] = monitors();
}
if (monitor === undefined) throw new Error('no program watches the addresses');
const taken: number[] = [];
try {
  for (;;) taken.push(openSync('/dev/null', 'r'));
} catch {
  process.kill(monitor, 'SIGKILL');
}
await wait(2500);
for (const descriptor of taken) closeSync(descriptor);
for (let count = 0; count < 100 && monitors().length === 0; count += 1) await wait(100);
process.stdout.write(monitors().length > 0 ? 'watching\n' : 'blind\n');
process.exit(0);
