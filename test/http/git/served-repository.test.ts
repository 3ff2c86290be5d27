import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { noneIfGone } from '../../../src/core/errors.ts';
import { LIMITED_GIT } from '../../../src/git/git-environment.ts';
import { ServedRepository } from '../../../src/http/git/served-repository.ts';

const folder = await mkdtemp(join(tmpdir(), 'served-'));
after(() => rm(folder, { recursive: true, force: true }));

/** The state of a process in proc_pid_stat(5). Null if it has ended. */
async function stateOf(pid: string): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(noneIfGone);
  const state = stat?.slice(stat.lastIndexOf(')') + 2)[0] ?? 'Z';
  return state === 'Z' ? null : state;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, 'the state was not reached within 10 s');
    await wait(20);
  }
}

for (const [how, end] of [
  ['is ended because its client left', 'wait'],
  ['ends early by itself', 'exit 1'],
] as const) {
  test(`threat 188: if a fetch over HTTP ${how}, the program that packs objects for it ends, too`, async () => {
    const pidFile = join(folder, `${end}.pid`);
    const stub = join(folder, 'git-upload-pack');
    await writeFile(
      stub,
      `#!/bin/sh\nsleep 300 & echo $! > '${pidFile}.new'\nmv '${pidFile}.new' '${pidFile}'\n${end}\n`,
    );
    await chmod(stub, 0o755);
    const environment = { PATH: `${LIMITED_GIT}:${folder}:${process.env['PATH']}` };
    const git = ServedRepository.open({ folder, environment }).run('upload-pack', new PassThrough().resume());
    const pidOf = async () => ((await readFile(pidFile, 'utf8').catch(noneIfGone)) ?? '').trim();
    await until(async () => (await pidOf()) !== '');
    const pid = await pidOf();
    if (end === 'wait') {
      assert.notEqual(await stateOf(pid), null);
      git.kill();
    }
    await until(async () => (await stateOf(pid)) === null);
    git.input.destroy();
    await git.exited;
  });
}
