import { test } from 'node:test';
import { besiege } from '../../support/bad-input/bad-input.ts';
import { badPushes } from '../../support/bad-input/bad-input-pushes.ts';
import { sshKinds } from '../../support/bad-input/bad-input-ssh.ts';
import { pushBySsh } from '../../support/bad-input/bad-input-ssh-members.ts';

test('the SSH server serves other clients during each kind of bad input, and keeps no process, open file or ref of the input', (context) =>
  besiege(context, 'ssh', ({ first }) => [...sshKinds, ...badPushes(first).map(pushBySsh)]));
