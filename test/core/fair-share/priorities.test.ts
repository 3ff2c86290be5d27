import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { Priorities } from '../../../src/core/fair-share/priorities.ts';
import { LIMITED_GIT, LOW_PRIORITY } from '../../../src/git/git-environment.ts';

test('threat 186: of the programs that run for a person, the first two have the usual priority, and all others a low one', () => {
  const priorities = new Priorities();
  const [one, two, three] = ['mallory', 'mallory', 'mallory'].map((uid) => priorities.enter(uid));
  assert.deepEqual(
    [one, two, three].map((entered) => entered?.isLow),
    [false, false, true],
  );
  assert.equal(priorities.enter('alice').isLow, false);
  three?.leave();
  assert.equal(priorities.enter('mallory').isLow, true);
  one?.leave();
  one?.leave();
  assert.equal(priorities.enter('mallory').isLow, false);
  assert.equal(priorities.enter('mallory').isLow, true);
});

test('threat 186: a git process that serves a client has a low priority if its environment asks for one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'priority-'));
  try {
    await writeFile(join(folder, 'git'), '#!/bin/sh\nnice\n');
    await chmod(join(folder, 'git'), 0o755);
    const priorityOf = async (more: Readonly<Record<string, string>>) => {
      const env = { PATH: `${LIMITED_GIT}:${folder}:${process.env['PATH']}`, ...more };
      return Number((await execa('git', [], { env, extendEnv: false })).stdout);
    };
    const usual = await priorityOf({});
    assert.equal(await priorityOf(LOW_PRIORITY), Math.min(19, usual + 15));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
