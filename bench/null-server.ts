import { homedir, userInfo } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { readConfig } from '../src/config.ts';
import { createLog } from '../src/core/log/log.ts';
import { NullBuilder, NullRuntime } from './null-back-ends.ts';

/** The server as `npm start` runs it, with back ends that build and run nothing. */
async function main(): Promise<void> {
  const config = readConfig(process.env);
  const { startServer } = await import('../src/server.ts');
  const log = createLog(config.log_level);
  const server = await startServer({
    config,
    log,
    owner: { userName: userInfo().username, homeFolder: homedir() },
    path: process.env['PATH'] ?? '/usr/bin:/bin',
    tell: (text) => void process.stderr.write(text),
    backEnds: { builder: new NullBuilder(), runtime: new NullRuntime() },
  });
  // `settledMemory` sends this signal.
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  process.on('SIGUSR2', () => collectGarbage());
  process.once('SIGTERM', () => void server.close().then(() => process.exit(0)));
}

if (import.meta.main) await main();
