import { suite } from 'node:test';
import { builderContract } from '../contracts/builder.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';

// A build mostly waits for the node to start its containers: several fit beside each other.
suite('in the cluster', { concurrency: 3 }, () =>
  builderContract('kubernetes builder', () => AClusterBuilder.open(), { outlivesServer: true }),
);
