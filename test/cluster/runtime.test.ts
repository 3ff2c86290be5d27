import { runtimeContract } from '../contracts/runtime.ts';
import { clusterBench } from './runtime-bench.ts';

runtimeContract('kubernetes', () => clusterBench());
