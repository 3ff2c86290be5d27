import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { readPlainFile } from '../../../../src/builder/source/safe-files.ts';
import { createLog } from '../../../../src/core/log/log.ts';
import type { ToolName } from '../../../../src/core/names.ts';
import { readReplicaFile, replicaVariables } from '../../../../src/run/local/processes/replica-file.ts';
import { releaseOf, releasePhase, rollOut, textOf, until } from '../../contract-steps.ts';
import { worker } from '../../tool-sources.ts';
import { localBench } from '../local-bench.ts';

const program = `
import os, time
path = os.environ['TOOL_DATA_DIR'] + '/replica.my.cnf'
print(open(path).read() if os.path.exists(path) else 'no file', os.environ.get('TOOL_REPLICA_USER'), os.environ.get('TOOL_REPLICA_PASSWORD'), 'end', flush=True)
time.sleep(1000)
`;

for (const mode of ['trusted', 'isolated'] as const) {
  test(`in the mode ${mode}, a process gets its tool’s replica.my.cnf as a file and as variables; a config var of the same name wins`, async () => {
    const bench = await localBench({ mode });
    try {
      const { runtime } = bench;
      const said = async (tool: ToolName, vars: Record<string, string> = {}) => {
        const artifact = await bench.artifact({ 'worker.py': program }, [worker()]);
        await rollOut(runtime, releaseOf(tool, 1, artifact, vars));
        const log = () => textOf(runtime, tool, 'worker');
        await until(async () => (await log()).includes('end'), 'the output', 60);
        return (await log()).trim();
      };
      const folder = join(bench.data, 'replicas', 'has-one');
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(join(folder, 'replica.my.cnf'), "[client]\nuser = s51\npassword = 'pw of s51'", {
        mode: 0o600,
      });
      const user = { TOOL_REPLICA_USER: 'mine' };
      assert.equal(
        await said('has-one' as ToolName, user),
        "[client]\nuser = s51\npassword = 'pw of s51' mine pw of s51 end",
      );
      const command = `cat replica.my.cnf $TOOL_DATA_DIR/replica.my.cnf; echo $TOOL_REPLICA_PASSWORD`;
      const printing = { type: 'release', command: ['sh', '-c', command], isDefault: false };
      const artifact = await bench.artifact({}, [printing]);
      const told = await releasePhase(runtime, releaseOf('has-one' as ToolName, 2, artifact));
      assert.match(told, /user = s51/);
      assert.doesNotMatch(told, /pw of s51/);
      assert.equal(await said('has-none' as ToolName), 'no file None None end');
    } finally {
      await bench.close();
    }
  });
}

test('a replica.my.cnf that is a link, in a linked folder, a pipe, or larger than 64 KiB is not read', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'toolforge-push-replica-'));
  try {
    const [secret, folder] = [join(parent, 'secret'), join(parent, 'replicas')];
    await mkdir(secret);
    await writeFile(join(secret, 'replica.my.cnf'), 'password=root');
    for (const tool of ['plain', 'link', 'pipe', 'large'])
      await mkdir(join(folder, tool), { recursive: true });
    const file = (tool: string) => join(folder, tool, 'replica.my.cnf');
    await writeFile(file('plain'), 'password=own');
    await symlink(join(secret, 'replica.my.cnf'), file('link'));
    await symlink(secret, join(folder, 'folder'));
    await execa('mkfifo', [file('pipe')]);
    await writeFile(file('large'), `password=x\n${'#'.repeat(64 * 1024)}`);
    const parts = { folder, read: readPlainFile, log: createLog('fatal') };
    for (const tool of ['link', 'folder', 'pipe', 'large', 'none'])
      assert.equal(await readReplicaFile(parts, tool as ToolName), null, tool);
    const own = await readReplicaFile(parts, 'plain' as ToolName);
    assert.deepEqual(own?.variables, { TOOL_REPLICA_PASSWORD: 'own' });
  } finally {
    await rm(parent, { recursive: true });
  }
});

test('user and password of replica.my.cnf may have quotes and spaces around them', () => {
  assert.deepEqual(replicaVariables(`[client]\r\n user="s5'1"\r\npassword =  a=b#c \nport=3306\n#user=x`), {
    TOOL_REPLICA_USER: "s5'1",
    TOOL_REPLICA_PASSWORD: 'a=b#c',
  });
});

test('threat 35: a value of thousands of line separators (U+2028) in replica.my.cnf is read quickly', () => {
  const value = `\u2028 `.repeat(30_000);
  assert.deepEqual(replicaVariables(`user=${value}x\npassword=${value}`), {
    TOOL_REPLICA_USER: 'x',
    TOOL_REPLICA_PASSWORD: '',
  });
});
