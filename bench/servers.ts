import { TestServer } from '../test/support/server.ts';

/** The flags that `npm start` gives to node. */
const asStarted = { NODE_OPTIONS: '--max-semi-space-size=1 --max-old-space-size=512' };

/** The server in a process of its own, with back ends that build and run nothing. */
export function startNullServer(settings: Record<string, string> = {}): Promise<TestServer> {
  return TestServer.start({ ...asStarted, ...settings }, 'bench/null-server.ts');
}

/** The server with the real back ends, as `npm start` runs it. */
export function startRealServer(settings: Record<string, string> = {}): Promise<TestServer> {
  return TestServer.start({ ...asStarted, ...settings });
}
