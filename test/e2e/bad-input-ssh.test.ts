import { test } from 'node:test';
import { besiege } from '../support/bad-input.ts';
import { badPushes } from '../support/bad-input-pushes.ts';
import { sshKinds } from '../support/bad-input-ssh.ts';
import { pushBySsh } from '../support/bad-input-ssh-members.ts';

test('whatever comes to the SSH door, it answers, keeps nothing of it, and nobody else is harmed', (context) =>
  besiege(context, 'ssh', ({ first }) => [...sshKinds, ...badPushes(first).map(pushBySsh)]));
