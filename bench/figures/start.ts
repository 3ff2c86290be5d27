import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toolName } from '../../src/core/names.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { loadOrMakeSecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import type { TestServer } from '../../test/support/server.ts';
import { type Figure, ownRow } from '../figure.ts';
import { milliseconds, repeated } from '../rounds.ts';
import { startRealServer } from '../servers.ts';
import { median } from '../statistics.ts';

const TOOLS = 100;

/** Measures the time of a start of the server until `ready`, with 100 tools that have a repository but no release. */
export const start: Figure = {
  name: 'start',
  title: 'start to ready with 100 tools',
  async run({ isQuick }) {
    await using server = await startRealServer();
    await server.kill('SIGTERM');
    await makeKnown(server);
    const times = await repeated(isQuick ? 3 : 11, async () => {
      const time = await milliseconds(() => server.boot());
      await server.kill('SIGTERM');
      return time;
    });
    return [ownRow('start to ready, 100 tools known, none live', median(times), 'ms', 700)];
  },
};

/** Makes tools that have a repository and a number in the store, but no release. */
async function makeKnown(server: TestServer): Promise<void> {
  const data = join(server.folder, 'data');
  const repositories = new Repositories({
    folder: join(data, 'repositories'),
    path: server.environment['PATH'] ?? '',
    deployBranch: 'main',
  });
  await mkdir(join(data, 'repositories'), { recursive: true });
  const store = new SqliteStore(data, loadOrMakeSecretsKey(join(server.folder, 'keys')));
  try {
    for (let number = 0; number < TOOLS; number += 1) {
      const tool = toolName(`tool-${number}`);
      if (tool === null) throw new Error('no name of a tool');
      await server.addTool(tool);
      await repositories.ensure(tool);
      store.tool(tool);
    }
  } finally {
    store.close();
  }
}
