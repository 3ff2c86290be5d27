import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { readConfig } from '../config.ts';
import { systemCode } from '../core/errors.ts';
import { request, requestTls } from '../core/network/node-http.ts';

const MAX_WAIT_MS = 2000;

/**
 * Asks the server on this machine for its health, for the health check of a container: at `/healthz`, or at `/livez` to
 * find out only whether the server hangs.
 *
 * @returns null if the server is well, otherwise a text that says what is wrong.
 */
export async function askHealth(
  environment: NodeJS.ProcessEnv,
  path: '/healthz' | '/livez' = '/healthz',
): Promise<string | null> {
  const { http, tls_certificate } = readConfig(environment);
  const ask = tls_certificate === null ? request : requestTls;
  const signal = AbortSignal.timeout(MAX_WAIT_MS);
  // Do not check the certificate, because a certificate is for the name that people use, not for 127.0.0.1.
  const options = { ...http, path, rejectUnauthorized: false, agent: false as const, signal };
  try {
    const [response] = (await once(ask(options).end(), 'response')) as [IncomingMessage];
    const said = (await text(response)).trim();
    return response.statusCode === 200 ? null : said || `the server answered ${response.statusCode}`;
  } catch (error) {
    if (systemCode(error) === 'ECONNREFUSED') return `no server listens at ${http.host}:${http.port}`;
    if (signal.aborted) return `the server did not answer within ${MAX_WAIT_MS / 1000} s`;
    return `the server cannot be asked: ${error instanceof Error ? error.message : error}`;
  }
}

if (import.meta.main) {
  const complaint = await askHealth(process.env, process.argv.includes('--live') ? '/livez' : '/healthz');
  if (complaint !== null) process.stderr.write(`${complaint}\n`);
  process.exit(complaint === null ? 0 : 1);
}
