import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { replicaVariables } from '../../../../src/run/local/processes/replica-file.ts';
import { releaseOf, rollOut, textOf, until } from '../../contract-steps.ts';
import { worker } from '../../tool-sources.ts';
import { localBench } from '../local-bench.ts';

const program = `
import os, time
path = os.environ['TOOL_DATA_DIR'] + '/replica.my.cnf'
print(open(path).read() if os.path.exists(path) else 'no file', os.environ.get('TOOL_REPLICA_USER'), os.environ.get('TOOL_REPLICA_PASSWORD'), 'end', flush=True)
time.sleep(1000)
`;

for (const mode of ['trusted', 'isolated'] as const) {
  test(`${mode}: a process gets its tool’s replica.my.cnf as a file and as variables, but a config var counts instead`, async () => {
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
      await writeFile(join(folder, 'replica.my.cnf'), "[client]\nuser = s51\npassword = 'pw'", {
        mode: 0o600,
      });
      const user = { TOOL_REPLICA_USER: 'mine' };
      assert.equal(
        await said('has-one' as ToolName, user),
        "[client]\nuser = s51\npassword = 'pw' mine pw end",
      );
      assert.equal(await said('has-none' as ToolName), 'no file None None end');
    } finally {
      await bench.close();
    }
  });
}

test('user and password of replica.my.cnf may have quotes and spaces around them', () => {
  assert.deepEqual(replicaVariables(`[client]\r\n user="s5'1"\r\npassword =  a=b#c \nport=3306\n#user=x`), {
    TOOL_REPLICA_USER: "s5'1",
    TOOL_REPLICA_PASSWORD: 'a=b#c',
  });
});
