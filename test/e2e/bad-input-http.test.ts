import { test } from 'node:test';
import { besiege } from '../support/bad-input.ts';
import { httpKinds, pushByHttp } from '../support/bad-input-http.ts';
import { badPushes } from '../support/bad-input-pushes.ts';

test('whatever comes to the HTTP door, it answers, keeps nothing of it, and nobody else is harmed', (context) =>
  besiege(context, 'http', ({ first }) => [...httpKinds, ...badPushes(first).map(pushByHttp)]));
