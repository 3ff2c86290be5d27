import { suite } from 'node:test';
import { builderContract } from '../../contracts/builder.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';

// A build mostly waits until the node starts its containers, so several can run at once.
suite('in the cluster', { concurrency: 3 }, () =>
  builderContract('kubernetes builder', () => AClusterBuilder.open(), { outlivesServer: true }),
);
