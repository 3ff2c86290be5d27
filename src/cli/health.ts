import { readConfig } from '../config.ts';

/** Whether the server of this machine answers as healthy: for a container's health check. */
export async function isHealthy(): Promise<boolean> {
  const { http, tls_certificate } = readConfig(process.env);
  const scheme = tls_certificate === null ? 'http' : 'https';
  const host = http.host.includes(':') ? `[${http.host}]` : http.host;
  try {
    const response = await fetch(`${scheme}://${host}:${http.port}/healthz`, {
      signal: AbortSignal.timeout(2000),
    });
    return response.ok;
  } catch {
    return false;
  }
}

if (import.meta.main) process.exit((await isHealthy()) ? 0 : 1);
