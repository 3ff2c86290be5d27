import { execContract } from '../../contracts/execs.ts';
import { oneOffContract } from '../../contracts/one-offs.ts';
import { clusterBench } from './runtime-bench.ts';

oneOffContract('kubernetes', () => clusterBench());
execContract('kubernetes', () => clusterBench());
