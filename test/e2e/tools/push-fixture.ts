import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestServer } from '../../support/server.ts';
import { WorkTree } from '../../support/work-tree.ts';

const fixtures = resolve(import.meta.dirname, '../../fixtures');

/** Pushes a folder of test/fixtures as a tool with its name, which is then live. @returns what the push said. */
export async function pushFixture(server: TestServer, fixture: string): Promise<string> {
  await server.addTool(fixture);
  const tree = await WorkTree.create(server, 'ssh', fixture);
  await cp(join(fixtures, fixture), tree.folder, { recursive: true });
  await tree.commit(fixture, {});
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  return pushed.stderr;
}
