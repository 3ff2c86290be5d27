import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Config } from './config.ts';
import { openDataFolder } from './core/disk/data-folder.ts';
import { namesIn } from './core/disk/names-in.ts';
import { DeployError } from './core/errors.ts';
import { assertNobodyListens } from './local-socket/local-socket.ts';
import { assertRestored } from './recovery/half-restore.ts';
import { endLeftovers } from './sandbox/process/marked-processes.ts';
import { subordinateUsers } from './sandbox/subordinate-users.ts';
import { socketPathOf } from './server-state.ts';
import { accountName, homeFolder, STARTED_BY } from './settings/account.ts';
import { DataLock } from './store/data-lock.ts';

/** The file in the data folder that says which subordinate ids own the files of tools. */
const MARK = 'tool-users';

/**
 * Gives each tool a system user of its own if the server is not root but has subordinate ids (subuid(5)). The limits of
 * the kernel for one user, such as that of epoll watches, then apply to each tool separately.
 *
 * To do so, replaces this process by one that runs the same program as root of a user namespace. Call this before the
 * program opens files that must stay open. Returns without a change if tools cannot have users of their own.
 *
 * @throws DeployError `TOOL_USERS_LOST` if the files of tools belong to subordinate ids that the server cannot use any
 * more; another DeployError if the data folder cannot be used.
 */
export async function giveToolsUsers(config: Config, environment: NodeJS.ProcessEnv): Promise<void> {
  if (process.getuid?.() === 0 || (config.builder !== 'local' && config.runtime !== 'local')) return;
  const mark = join(config.data, MARK);
  const earlier = existsSync(mark) ? readFileSync(mark, 'utf8') : null;
  if (config.sandbox === 'trusted' && earlier === null) return;
  const users = await subordinateUsers(accountName(), config.sandbox_uid, config.data);
  if (earlier !== null && (typeof users === 'string' || users.id !== earlier))
    throw lost(
      config.data,
      typeof users === 'string' ? users : 'its subordinate ids or sandbox_uid have changed',
    );
  if (typeof users === 'string') return;
  await openDataFolder(config.data);
  using lock = new DataLock(config.data);
  assertRestored(config.data);
  await assertNobodyListens(socketPathOf(config));
  // End the processes that an earlier server left, because this server is about to enter a user namespace. There, it
  // has no rights over processes of another namespace.
  await endLeftovers(config.data);
  if (earlier === null) {
    await openArtifacts(config.data);
    await writeFile(mark, users.id, { mode: 0o600 });
  }
  // Release the lock of the data folder before `execve`, because the program that `execve` starts in the user namespace
  // also takes this lock.
  lock[Symbol.dispose]();
  const argv = [...users.wrapper, process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const own = { HOME: homeFolder(), [STARTED_BY]: accountName() };
  process.execve?.('/usr/bin/env', ['env', ...argv], { ...environment, ...own });
}

/**
 * Lets the users of tools read the artifacts that were built when tools had no users of their own. Other users of this
 * machine still cannot reach the artifacts, because they may not enter the folders above.
 */
export async function openArtifacts(data: string): Promise<void> {
  const folder = join(data, 'artifacts');
  const options = {
    env: { PATH: '/usr/bin:/bin' },
    extendEnv: false,
    stdio: 'ignore',
    reject: false,
  } as const;
  for (const tool of await namesIn(folder)) {
    const artifacts = (await namesIn(join(folder, tool))).map((id) => join(folder, tool, id));
    if (artifacts.length > 0) await execa('chmod', ['-R', 'go+rX', '--', ...artifacts], options);
  }
}

function lost(data: string, why: string): DeployError {
  return new DeployError(
    'TOOL_USERS_LOST',
    `the files of each tool belong to the tool’s own system user, but this server can no longer use these users, because ${why}`,
    `Undo the change that caused this. Or give the files to the server’s own user: as root, run chown -R ${accountName()}: ${data} and delete ${join(data, MARK)}.`,
  );
}
