import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestServer } from '../../support/server.ts';
import { WorkTree } from '../../support/work-tree.ts';

const fixtures = resolve(import.meta.dirname, '../../fixtures');

/** A tool that was pushed from a folder of test/fixtures, and what its pushes said. */
export interface PushedFixture {
  readonly tree: WorkTree;
  readonly first: string;
  /** The output of the second push, whose commit changes nothing of the build; empty if there was no second push. */
  readonly second: string;
}

/**
 * Pushes a folder of test/fixtures as a tool with its name, and then a commit that changes nothing of the build. That
 * second release, which reuses layers of the first, is then live.
 *
 * @param options.isTwice - False leaves out the second push.
 */
export async function pushFixture(
  server: TestServer,
  fixture: string,
  { isTwice = true, door = 'ssh' }: { readonly isTwice?: boolean; readonly door?: 'ssh' | 'http' } = {},
): Promise<PushedFixture> {
  await server.addTool(fixture);
  const tree = await WorkTree.create(server, door, fixture);
  await cp(join(fixtures, fixture), tree.folder, { recursive: true });
  await tree.commit(fixture, {});
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  if (!isTwice) return { tree, first: pushed.stderr, second: '' };
  await tree.commit('change', { 'NOTES.md': 'nothing\n' });
  const again = await tree.push();
  assert.equal(again.exitCode, 0, again.stderr);
  return { tree, first: pushed.stderr, second: again.stderr };
}

/** What a sample tool must show. */
export interface SampleTool {
  readonly fixture: string;
  /** In the output of the first push. */
  readonly says: RegExp;
  /** In the output of the second push. */
  readonly again: RegExp;
  /** In the page of the second release. */
  readonly answers: RegExp;
  /** A command for the shell that runs in the second release, and what it prints. */
  readonly runs?: { readonly command: string; readonly prints: RegExp };
}

/** Asserts that both pushes of a sample tool go live, and that the tool answers. */
export async function assertSampleTool(
  server: TestServer,
  { fixture, says, again, answers, runs }: SampleTool,
): Promise<void> {
  const { first, second } = await pushFixture(server, fixture);
  assert.match(first, says);
  assert.match(second, again);
  // Both releases have the same processes.
  const processes = (output: string) => output.match(/^.* {2}[a-z-]+: .*$/gm);
  assert.deepEqual(processes(second), processes(first));
  const { status, body } = await server.get(fixture);
  assert.equal(status, 200, body);
  assert.match(body, answers);
  if (runs === undefined) return;
  const { exitCode, stdout, stderr } = await server.local('run', fixture, 'bash', '-c', runs.command);
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, runs.prints);
}
