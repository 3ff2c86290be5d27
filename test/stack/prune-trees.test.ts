import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pruneTrees } from '../../src/stack/prune-stacks.ts';
import { describeStack } from '../../src/stack/stacks.ts';

test('pruning the stacks removes the trees that an update has replaced, and keeps the trees of an update that is not finished', async () => {
  const data = await mkdtemp(join(tmpdir(), 'prune-trees-'));
  try {
    const folder = join(data, 'stacks/trixie-1');
    for (const name of ['trees-8', 'trees-9', 'trees-10'])
      await mkdir(join(folder, name, 'run'), { recursive: true });
    await symlink('trees-9', join(folder, 'trees'));
    await describeStack(folder, { id: 'trixie-1', name: 'trixie', version: 1, packages: 'x', madeAt: 1 });
    await pruneTrees(data);
    assert.deepEqual((await readdir(folder)).sort(), ['stack.json', 'trees', 'trees-10', 'trees-9']);
  } finally {
    await rm(data, { recursive: true });
  }
});
