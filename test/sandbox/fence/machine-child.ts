import { sandboxIn, startIn } from '../sandbox-bench.ts';
import type { Ask } from './machine.ts';

// A server on a `Machine` that runs one program in a sandbox and prints its output.
const { data, blocked, argv } = JSON.parse(process.argv[2] ?? '') as Ask;
const sandbox = await sandboxIn(data, 'isolated', blocked);
const running = startIn(sandbox, argv);
process.once('SIGTERM', () => running.kill());
running.output.pipe(process.stdout);
const { isOverKernelLimits } = await running.exited;
if (isOverKernelLimits) process.stdout.write('ended because it was over the limits of the kernel\n');
