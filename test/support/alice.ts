import type { Principal } from '../../src/core/types.ts';

/** A person who has logged in over SSH with her key. */
export const alice: Principal = {
  uid: 'alice',
  door: 'ssh',
  credential: 'ssh ED25519 SHA256:abc',
  address: '127.0.0.1',
  onlyTool: null,
  scope: 'manage',
  isOperator: false,
};
