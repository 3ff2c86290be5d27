import { runtimeContract } from '../contracts/runtime.ts';
import { clusterBench } from './runtime-bench.ts';

// A rollout mostly waits for the node to start its containers: several fit beside each other.
runtimeContract('kubernetes', () => clusterBench(), 3);
