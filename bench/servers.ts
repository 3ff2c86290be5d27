import { resolve } from 'node:path';
import { TestServer } from '../test/support/server.ts';

/** The flags and variables that `npm start` gives to node. */
const asStarted = {
  NODE_OPTIONS: '--max-semi-space-size=1 --max-old-space-size=512',
  MALLOC_ARENA_MAX: '1',
  NODE_COMPILE_CACHE: resolve(import.meta.dirname, '../node_modules/.cache/compile'),
};

/** The server in a process of its own, with back ends that build and run nothing. */
export function startNullServer(settings: Record<string, string> = {}): Promise<TestServer> {
  return TestServer.start({ ...asStarted, ...settings }, 'bench/null-server.ts');
}

/** The server with the real back ends, as `npm start` runs it, and with a buildpack for tools that are test programs. */
export function startRealServer(settings: Record<string, string> = {}): Promise<TestServer> {
  return TestServer.start({ ...asStarted, ...settings });
}

/** The server with the real back ends, but without the buildpack for test programs, whose detection slows each build by 0.1 s. */
export function startBuildServer(): Promise<TestServer> {
  return startRealServer({ TOOLFORGE_PUSH_BUILDPACKS: resolve(import.meta.dirname, '../buildpacks') });
}
