import { runtimeContract } from '../../contracts/runtime.ts';
import { clusterBench } from './runtime-bench.ts';

// A rollout mostly waits until the node starts its containers, so several can run at once.
runtimeContract('kubernetes', () => clusterBench(), 3);
