import { Writable } from 'node:stream';
import { Exec } from '@kubernetes/client-node';
import type { Cluster } from './cluster.ts';
import type { ContainerName } from './container-log.ts';

const WAIT_MS = 5000;
const MOST_CHARACTERS = 1024 * 1024;

/**
 * What a command prints that is run in a container, at most 1 MiB; null where it cannot be run there, for want of the
 * program or of the right (`pods/exec`), or takes longer than 5 s.
 */
export async function outputIn(
  cluster: Cluster,
  { namespace, pod, container }: ContainerName,
  argv: readonly string[],
): Promise<string | null> {
  let output = '';
  const stdout = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (output.length < MOST_CHARACTERS) output += chunk.toString();
      done();
    },
  });
  const stderr = new Writable({ write: (_chunk, _encoding, done) => done() });
  const { promise: ended, resolve } = Promise.withResolvers<string | null>();
  const limit = setTimeout(resolve, WAIT_MS, null);
  try {
    const socket = await new Exec(cluster.kubeConfig).exec(
      namespace,
      pod,
      container,
      [...argv],
      stdout,
      stderr,
      null,
      false,
      () => resolve(output),
    );
    socket.onclose = () => resolve(output);
    socket.onerror = () => resolve(null);
    const result = await ended;
    socket.close();
    return result;
  } catch {
    return null;
  } finally {
    clearTimeout(limit);
  }
}

/** The TCP ports that something in the container's pod listens on; null where that cannot be seen. */
export async function listeningPortsIn(cluster: Cluster, name: ContainerName): Promise<number[] | null> {
  const tables = await outputIn(cluster, name, ['cat', '/proc/net/tcp', '/proc/net/tcp6']);
  return tables === null ? null : listeningPorts(tables);
}

/**
 * @param tables - Of /proc/net/tcp and tcp6.
 * @see https://docs.kernel.org/networking/proc_net_tcp.html
 */
export function listeningPorts(tables: string): number[] {
  const LISTEN = '0A';
  const ports = tables
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state]) => state === LISTEN)
    .map(([, local = '']) => Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16));
  return [...new Set(ports)].sort((a, b) => a - b);
}
