import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cluster, connectCluster } from '../../src/kubernetes/cluster.ts';

export interface ApiProxy {
  /** The cluster, reached through this proxy. */
  readonly cluster: Cluster;
  /** Cuts every connection. */
  cut(): void;
  /** Makes the API unreachable for a time, as during a restart. */
  goAway(ms: number): void;
  close(): Promise<void>;
}

/** A proxy to the real API server that can break connections. */
export async function apiProxy(): Promise<ApiProxy> {
  const { kubeConfig } = connectCluster({ context: '' });
  const real = kubeConfig.getCurrentCluster();
  const target = new URL(real?.server ?? '');
  const sockets = new Set<Socket>();
  let isAway = false;
  const server = createServer((inner) => {
    if (isAway) return void inner.resetAndDestroy();
    const outer = connect(Number(target.port || 443), target.hostname);
    for (const socket of [inner, outer]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        inner.destroy();
        outer.destroy();
      });
    }
    inner.pipe(outer).pipe(inner);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const folder = await mkdtemp(join(tmpdir(), 'toolforge-push-proxy-'));
  const exported = JSON.parse(kubeConfig.exportConfig()) as {
    clusters: { name: string; cluster: Record<string, unknown> }[];
  };
  for (const { name, cluster } of exported.clusters) {
    if (name !== real?.name) continue;
    cluster['server'] = `https://127.0.0.1:${port}`;
    cluster['tls-server-name'] = 'kubernetes.default.svc';
  }
  await writeFile(join(folder, 'config'), JSON.stringify(exported), { mode: 0o600 });
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    cluster: connectCluster({ context: '', kubeconfig: join(folder, 'config') }),
    cut,
    goAway: (ms) => {
      isAway = true;
      cut();
      setTimeout(() => {
        isAway = false;
      }, ms);
    },
    close: async () => {
      cut();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}
