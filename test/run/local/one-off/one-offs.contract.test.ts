import { oneOffContract } from '../../../contracts/one-offs.ts';
import { localBench } from '../local-bench.ts';

oneOffContract('local, isolated', () => localBench({ mode: 'isolated' }));
oneOffContract('local, trusted', () => localBench({ mode: 'trusted' }));
