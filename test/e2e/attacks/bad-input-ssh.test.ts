import { test } from 'node:test';
import { besiege } from '../../support/bad-input/bad-input.ts';
import { badPushes } from '../../support/bad-input/bad-input-pushes.ts';
import { sshKinds } from '../../support/bad-input/bad-input-ssh.ts';
import { pushBySsh } from '../../support/bad-input/bad-input-ssh-members.ts';

test('the SSH server answers all bad input, keeps nothing from it, and other clients are not affected', (context) =>
  besiege(context, 'ssh', ({ first }) => [...sshKinds, ...badPushes(first).map(pushBySsh)]));
