import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecaError, execa } from 'execa';
import type { CommitId, ToolName } from '../../core/names.ts';
import type { Repositories } from '../repositories.ts';
import { readRefs } from './ref-files.ts';

/** The deploy branch of one tool. */
export interface DeployBranch {
  /**
   * The full name of the deploy branch: that of the setting `deploy_branch`, such as `refs/heads/main`. Or
   * `refs/heads/master` if the tool has only that branch.
   */
  readonly ref: string;
  /** The commit of the deploy branch. Null if the repository has no such branch yet. */
  readonly commit: CommitId | null;
}

/** Returns the short name of a branch: `main` for `refs/heads/main`. */
export function branchName(ref: string): string {
  return ref.replace(/^refs\/heads\//, '');
}

/** Reads which branch of the tool deploys, and its commit. */
export async function readDeployBranch(repositories: Repositories, tool: ToolName): Promise<DeployBranch> {
  const main = `refs/heads/${repositories.deployBranch}`;
  if (!repositories.exists(tool)) return { ref: main, commit: null };
  const names = [main, 'refs/heads/master'];
  const found = await readRefs(repositories, tool, names);
  for (const ref of names) {
    const commit = found.get(ref);
    if (commit !== undefined) return { ref, commit };
  }
  return { ref: main, commit: null };
}

/**
 * True if `ancestor` can be reached from `descendant`. Otherwise false, also if the repository lacks either commit, or
 * the history between them because a push was shallow.
 */
export async function isAncestor(
  repositories: Repositories,
  tool: ToolName,
  ancestor: CommitId,
  descendant: CommitId,
): Promise<boolean> {
  try {
    await repositories.git(tool, ['merge-base', '--is-ancestor', ancestor, descendant]);
    return true;
  } catch (error) {
    if (error instanceof ExecaError && (error.exitCode === 1 || error.exitCode === 128)) return false;
    throw error;
  }
}

/** Points the repository's HEAD at the branch `ref`, because a clone checks out HEAD. */
export async function pointHead(repositories: Repositories, tool: ToolName, ref: string): Promise<void> {
  const head = await readFile(join(repositories.folder(tool), 'HEAD'), 'utf8');
  if (head === `ref: ${ref}\n`) return;
  await execa('git', ['symbolic-ref', 'HEAD', ref], {
    cwd: repositories.folder(tool),
    env: repositories.environment([], { GIT_DIR: repositories.folder(tool) }),
    extendEnv: false,
    stdin: 'ignore',
  });
}
