import { execContract } from '../../../contracts/execs.ts';
import { oneOffContract } from '../../../contracts/one-offs.ts';
import { localBench } from '../local-bench.ts';

oneOffContract('local, isolated', () => localBench({ mode: 'isolated' }));
oneOffContract('local, trusted', () => localBench({ mode: 'trusted' }));
execContract('local, isolated', () => localBench({ mode: 'isolated', graceMs: 500 }));
execContract('local, trusted', () => localBench({ mode: 'trusted', graceMs: 500 }));
