import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestServer } from '../../support/server.ts';
import { WorkTree } from '../../support/work-tree.ts';

const fixtures = resolve(import.meta.dirname, '../../fixtures');

/**
 * Pushes a folder of test/fixtures as a tool with its name, and then a commit that changes nothing of the build. That
 * second release, which reuses layers of the first, is then live.
 *
 * @param options.isTwice - False leaves out the second push.
 * @returns what the first push said.
 */
export async function pushFixture(
  server: TestServer,
  fixture: string,
  { isTwice = true }: { readonly isTwice?: boolean } = {},
): Promise<string> {
  await server.addTool(fixture);
  const tree = await WorkTree.create(server, 'ssh', fixture);
  await cp(join(fixtures, fixture), tree.folder, { recursive: true });
  await tree.commit(fixture, {});
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  if (!isTwice) return pushed.stderr;
  await tree.commit('change', { 'NOTES.md': 'nothing\n' });
  const again = await tree.push();
  assert.equal(again.exitCode, 0, again.stderr);
  return pushed.stderr;
}
