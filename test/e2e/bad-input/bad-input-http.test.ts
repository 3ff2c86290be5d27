import { test } from 'node:test';
import { besiege } from '../../support/bad-input/bad-input.ts';
import { httpKinds, pushByHttp } from '../../support/bad-input/bad-input-http.ts';
import { badPushes } from '../../support/bad-input/bad-input-pushes.ts';

test('the HTTP server answers each kind of bad input, keeps nothing of the input, and still serves other clients', (context) =>
  besiege(context, 'http', ({ first }) => [...httpKinds, ...badPushes(first).map(pushByHttp)]));
