import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cluster, connectCluster } from '../../src/kubernetes/cluster.ts';

export interface FakeApi {
  readonly cluster: Cluster;
  readonly server: Server;
  /** The requested paths with their queries, in order. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** A fake API server for faults that a real one does not produce on demand. `answer` gets each request. */
export async function fakeApi(
  answer: (url: URL, response: ServerResponse, request: IncomingMessage) => void,
): Promise<FakeApi> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://fake');
    asked.push(`${url.pathname}${url.search}`);
    answer(url, response, request);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const folder = await mkdtemp(join(tmpdir(), 'toolforge-push-api-'));
  const kubeconfig = join(folder, 'config');
  const { port } = server.address() as AddressInfo;
  await writeFile(kubeconfig, kubeconfigFor(`http://127.0.0.1:${port}`));
  return {
    cluster: connectCluster({ context: '', kubeconfig }),
    server,
    asked,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

export function kubeconfigFor(server: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    // Without this setting, the library does not use plain HTTP.
    clusters: [{ name: 'fake', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'someone', user: { token: 'token' } }],
    contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'someone' } }],
    'current-context': 'fake',
  });
}

/** Sends a refusal of the API. */
export function refuse(response: ServerResponse, code: number, reason: string, message: string): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message }));
}

export function answerJson(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const KINDS = {
  '/api/v1': { Pod: 'pods', Secret: 'secrets', Service: 'services', Namespace: 'namespaces' },
  '/apis/apps/v1': { Deployment: 'deployments' },
  '/apis/batch/v1': { Job: 'jobs', CronJob: 'cronjobs' },
  '/apis/networking.k8s.io/v1': { Ingress: 'ingresses', NetworkPolicy: 'networkpolicies' },
  '/apis/policy/v1': { PodDisruptionBudget: 'poddisruptionbudgets' },
};

/** Answers a request for the list of kinds, which the library sends first. @returns true if it was such a request. */
export function answerKinds({ pathname }: URL, response: ServerResponse): boolean {
  const kinds = Object.entries(KINDS).find(([path]) => path === pathname)?.[1];
  if (kinds === undefined) return false;
  const resources = Object.entries(kinds).map(([kind, name]) => ({ kind, name, namespaced: true }));
  answerJson(response, { resources });
  return true;
}
