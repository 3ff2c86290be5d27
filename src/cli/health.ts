import { once } from 'node:events';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { readConfig } from '../config.ts';

/** Whether the server of this machine answers as healthy: for a container's health check. */
export async function isHealthy(environment: NodeJS.ProcessEnv): Promise<boolean> {
  const { http, tls_certificate } = readConfig(environment);
  const ask = tls_certificate === null ? requestHttp : requestHttps;
  // The certificate is for the name that people use, which is not that of this machine.
  const options = { ...http, path: '/healthz', rejectUnauthorized: false, signal: AbortSignal.timeout(2000) };
  try {
    const [response] = (await once(ask(options).end(), 'response')) as [IncomingMessage];
    response.destroy();
    return response.statusCode === 200;
  } catch {
    return false;
  }
}

if (import.meta.main) process.exit((await isHealthy(process.env)) ? 0 : 1);
