import { test } from 'node:test';
import { besiege } from '../../support/bad-input/bad-input.ts';
import { badPushes } from '../../support/bad-input/bad-input-pushes.ts';
import { sshKinds } from '../../support/bad-input/bad-input-ssh.ts';
import { pushBySsh } from '../../support/bad-input/bad-input-ssh-members.ts';

test('the SSH server answers each kind of bad input, keeps nothing of the input, and still serves other clients', (context) =>
  besiege(context, 'ssh', ({ first }) => [...sshKinds, ...badPushes(first).map(pushBySsh)]));
