import { test } from 'node:test';
import { besiege } from '../../support/bad-input/bad-input.ts';
import { httpKinds, pushByHttp } from '../../support/bad-input/bad-input-http.ts';
import { badPushes } from '../../support/bad-input/bad-input-pushes.ts';

test('the HTTP server serves other clients during each kind of bad input, and keeps no process, open file or ref of the input', (context) =>
  besiege(context, 'http', ({ first }) => [...httpKinds, ...badPushes(first).map(pushByHttp)]));
