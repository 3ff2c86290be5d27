import { test } from 'node:test';
import { besiege } from '../../support/bad-input/bad-input.ts';
import { httpKinds, pushByHttp } from '../../support/bad-input/bad-input-http.ts';
import { badPushes } from '../../support/bad-input/bad-input-pushes.ts';

test('the HTTP server answers all bad input, keeps nothing from it, and other clients are not affected', (context) =>
  besiege(context, 'http', ({ first }) => [...httpKinds, ...badPushes(first).map(pushByHttp)]));
