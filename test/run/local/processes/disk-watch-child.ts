// Runs a program of tool 1 in a sandbox that writes to a small disk, as the user who starts this script. Prints why the
// program must end, as the disk watch reports; or `"beside"` if the Python program `beside`, which belongs to the tool
// with the number `besideTool`, must end first; or null if neither must end within five minutes. Then it ends both.
import type { DiskEnd } from '../../../../src/sandbox/sandbox.ts';
import { watchedOn } from './disk-watch-bench.ts';

const [disk = '', bytes = '', beside = '', besideTool = '', ...argv] = process.argv.slice(2);
const start = await watchedOn(disk, Number(bytes));
const { promise: over, resolve } = Promise.withResolvers<DiskEnd | 'beside' | null>();
const ends = [await start(1, argv, resolve)];
if (beside !== '')
  ends.push(await start(Number(besideTool), ['python3', '-c', beside], () => resolve('beside')));
const limit = setTimeout(() => resolve(null), 300_000);
process.stdout.write(JSON.stringify(await over));
clearTimeout(limit);
for (const end of ends) await end();
