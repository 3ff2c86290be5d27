import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { ApiException, type V1Lease, V1MicroTime } from '@kubernetes/client-node';
import { DeployError } from '../core/errors.ts';
import type { Log } from '../core/log/log.ts';
import type { Cluster } from './cluster.ts';
import { refusalOf } from './faults/api-refusals.ts';
import { type Retrying, retrying } from './retry.ts';

/** The name of the Lease object in the server's namespace. */
export const LEASE_NAME = 'toolforge-push';

export interface ServerLeaseOptions {
  readonly cluster: Cluster;
  /** The namespace of the server's pod. */
  readonly namespace: string;
  /** The name of the server's pod. */
  readonly podName: string;
  readonly log: Log;
  /** Called once, if another server takes the Lease, or if the API refuses renewals until the Lease has expired. */
  readonly onLost: (why: DeployError) => void;
  /** How many seconds the Lease lasts without renewal; by default 30. */
  readonly leaseSeconds?: number;
}

// Matches the number at the end of a StatefulSet pod's name, which has at most four digits. The names of other pods end
// in five random characters.
const ORDINAL = /-(\d{1,4})$/;
const LEASE_SECONDS = 30;
const RELEASE_MS = 3000;

/**
 * A Lease object in the server's namespace. Only the server that holds the Lease may work in this installation. The
 * holder's name is the name of its pod and a random part, so that a server notices if a later pod with the same name
 * takes the Lease.
 *
 * @see https://kubernetes.io/docs/concepts/architecture/leases/
 */
export class ServerLease {
  readonly #options: ServerLeaseOptions;
  readonly #seconds: number;
  readonly #holder: string;
  readonly #ending = new AbortController();
  #lease: V1Lease = {};
  #keeping: Promise<void> = Promise.resolve();

  private constructor(options: ServerLeaseOptions) {
    this.#options = options;
    this.#seconds = options.leaseSeconds ?? LEASE_SECONDS;
    this.#holder = `${options.podName}_${randomUUID()}`;
  }

  /**
   * Takes the Lease and renews it until `release` is called. If a killed server with the same pod name holds the Lease,
   * takes it at once. If another pod holds it, takes it only when it has expired without renewal.
   *
   * @throws DeployError `NOT_FIRST` in a pod of a StatefulSet that is not its first; `ANOTHER_SERVER` if another server
   * renews the Lease; `NO_LEASE` if this server has no right to the Lease.
   */
  static async take(options: ServerLeaseOptions): Promise<ServerLease> {
    assertFirst(options);
    const lease = new ServerLease(options);
    await lease.#take().catch((error: unknown) => {
      const isForbidden = error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN';
      throw isForbidden ? refused(error) : error;
    });
    lease.#keeping = lease.#keep();
    return lease;
  }

  /**
   * Gives the Lease back, so that the next server need not wait. Never throws, because the Lease also expires by
   * itself.
   */
  async release(): Promise<void> {
    this.#ending.abort();
    await this.#keeping;
    if (this.#lease.spec?.holderIdentity !== this.#holder) return;
    const patience = { signal: AbortSignal.timeout(RELEASE_MS), timeoutMs: RELEASE_MS };
    await this.#write(this.#lease, '', patience).catch(() => {});
  }

  async #take(): Promise<void> {
    const { log, namespace, podName } = this.#options;
    const patience = { signal: this.#ending.signal, timeoutMs: Number.POSITIVE_INFINITY };
    log.info({ namespace, lease: LEASE_NAME }, 'taking the Lease of this installation');
    let first: { readonly version: string | undefined; readonly atMs: number } | null = null;
    for (;;) {
      const found = await this.#read(patience);
      const { holderIdentity = '', leaseDurationSeconds: seconds = this.#seconds } = found?.spec ?? {};
      const isFree = holderIdentity === '' || podOf(holderIdentity) === podName;
      // Count a Lease as expired if it has not changed for its whole duration, measured by this machine's clock. Do not
      // use the renewal time in the Lease: the clock of the server that wrote it may be wrong.
      const hasExpired = first !== null && performance.now() - first.atMs > seconds * 1000;
      const version = found?.metadata?.resourceVersion;
      if (!isFree && first !== null && first.version !== version)
        throw anotherServer(podOf(holderIdentity), namespace);
      if ((isFree || hasExpired) && (await this.#write(found, this.#holder, patience))) return;
      if (!isFree && first === null) {
        first = { version, atMs: performance.now() };
        log.warn(
          { holder: podOf(holderIdentity), seconds },
          'waiting for the Lease of another server to expire',
        );
      }
      await wait(seconds * 30);
    }
  }

  async #keep(): Promise<void> {
    const { log, onLost, namespace } = this.#options;
    const { signal } = this.#ending;
    let renewedMs = performance.now();
    let isTold = false;
    for (;;) {
      await wait(this.#seconds * 150, null, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        const successor = await this.#renew();
        if (successor !== null) return onLost(anotherServer(successor, namespace));
        renewedMs = performance.now();
        isTold = false;
      } catch (err) {
        if (signal.aborted) return;
        const isOver = performance.now() - renewedMs > this.#seconds * 1000;
        // If the API does not answer this server, it most probably answers no other server either, so nobody can take
        // the Lease. So this server continues.
        if (isOver && !isAway(err)) return onLost(refused(err));
        if (!isTold) log.warn({ err }, 'the Lease of this installation was not renewed');
        isTold = true;
      }
    }
  }

  /** Renews the Lease. @returns null if this succeeded, or else the name of the pod that holds the Lease now. */
  async #renew(): Promise<string | null> {
    const patience = { signal: this.#ending.signal, timeoutMs: this.#seconds * 1000 };
    if (await this.#write(this.#lease, this.#holder, patience)) return null;
    // Read the Lease, because either somebody else has changed it, or the answer to this server's last write was lost.
    const found = await this.#read(patience);
    const holder = found?.spec?.holderIdentity ?? '';
    if (holder !== '' && holder !== this.#holder) return podOf(holder);
    await this.#write(found, this.#holder, patience);
    return null;
  }

  /** Reads the Lease. @returns null if there is no Lease. */
  async #read(patience: Retrying): Promise<V1Lease | null> {
    const { cluster, namespace } = this.#options;
    const read = () => cluster.coordination.readNamespacedLease({ name: LEASE_NAME, namespace });
    return await unless([404], read, patience);
  }

  /**
   * Writes the Lease with a new holder or renewal time.
   *
   * @param before - The Lease to replace, or null if no Lease exists.
   * @returns false if the Lease has changed since `before` was read.
   */
  async #write(before: V1Lease | null, holderIdentity: string, patience: Retrying): Promise<boolean> {
    const { coordination } = this.#options.cluster;
    const { namespace } = this.#options;
    const now = new V1MicroTime();
    const isSame = before?.spec?.holderIdentity === holderIdentity;
    const body: V1Lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...before?.metadata, name: LEASE_NAME, namespace },
      spec: {
        holderIdentity,
        leaseDurationSeconds: this.#seconds,
        acquireTime: isSame ? (before?.spec?.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: (before?.spec?.leaseTransitions ?? 0) + (isSame ? 0 : 1),
      },
    };
    const write = () =>
      before === null
        ? coordination.createNamespacedLease({ namespace, body })
        : coordination.replaceNamespacedLease({ name: LEASE_NAME, namespace, body });
    const written = await unless(before === null ? [409] : [404, 409], write, patience);
    if (written !== null) this.#lease = written;
    return written !== null;
  }
}

/**
 * Runs a call on the Lease, with retries, and returns the Lease that the API answers with. @returns null if the API
 * answers with a status in `codes`. @throws all other errors, and the error of a missing namespace.
 */
async function unless(
  codes: readonly number[],
  action: () => Promise<V1Lease>,
  patience: Retrying,
): Promise<V1Lease | null> {
  const orNull = (error: unknown) => {
    if (error instanceof ApiException && codes.includes(error.code) && refusalOf(error) === null) return null;
    throw error;
  };
  return await retrying(() => action().catch(orNull), patience);
}

function assertFirst({ podName, namespace }: ServerLeaseOptions): void {
  const ordinal = Number(ORDINAL.exec(podName)?.[1] ?? 0);
  if (ordinal === 0) return;
  throw new DeployError(
    'NOT_FIRST',
    `this is ${podName}, but only the first server of a StatefulSet may start, because each server has its own store`,
    scaleToOne(namespace, podName.replace(ORDINAL, '')),
  );
}

function anotherServer(holder: string, namespace: string): DeployError {
  return new DeployError(
    'ANOTHER_SERVER',
    `the server ${holder} holds the Lease ${LEASE_NAME} of this installation, and only one server may work in an installation`,
    scaleToOne(namespace, holder.replace(ORDINAL, '')),
  );
}

function scaleToOne(namespace: string, set: string): string {
  return `Run \`kubectl -n ${namespace} scale statefulset ${set} --replicas=1\`.`;
}

function isAway(error: unknown): boolean {
  return error instanceof DeployError && error.code === 'CLUSTER_UNREACHABLE';
}

function refused(cause: unknown): DeployError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new DeployError(
    'NO_LEASE',
    `the cluster does not let this server use the Lease ${LEASE_NAME} of this installation: ${why}`,
    'Apply deploy/kubernetes again: its Role toolforge-push-lease lets the server use the Lease.',
    { cause },
  );
}

function podOf(holder: string): string {
  return holder.split('_')[0] ?? '';
}
