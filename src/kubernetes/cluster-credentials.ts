import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import type { KubeConfig, User } from '@kubernetes/client-node';
import { systemCode } from '../core/errors.ts';
import { badCluster } from './kubeconfig.ts';

const WAIT_MS = 10_000;

/**
 * Checks that the credentials of the kubeconfig exist, and that a client certificate has not expired. Does not ask the
 * cluster, which may be down: reads files, and runs the kubeconfig's credentials program once. Accepts a program that
 * has not ended after 10 s.
 *
 * @throws DeployError `BAD_CLUSTER` if a file of the credentials cannot be read, if the certificate is not valid now,
 * or if the credentials program cannot be started.
 */
export async function assertCredentials(kubeConfig: KubeConfig): Promise<void> {
  const user = kubeConfig.getCurrentUser();
  if (user === null) return;
  const certificate = certificateOf(user);
  if (certificate !== null) assertInTime(user, certificate);
  try {
    // Get the credentials in the same way as each later call to the cluster.
    await Promise.race([kubeConfig.applyToHTTPSOptions({}), wait(WAIT_MS, null, { ref: false })]);
  } catch (cause) {
    const code = systemCode(cause);
    // Without a system error code, the credentials program ran but failed. It may succeed later. Until then, each call
    // to the cluster reports the failure.
    if (code === null) return;
    throw isOfProgram(cause)
      ? badCluster(
          `the program ${user.exec?.command}, which the kubeconfig names for the credentials of ${user.name}, cannot be run (${code})`,
          'it is installed and in the PATH of this server, or take a kubeconfig with a token or a certificate',
          { cause },
        )
      : cannotRead(cause);
  }
}

function certificateOf({ certData, certFile, name }: User): X509Certificate | null {
  try {
    if (certData) return new X509Certificate(Buffer.from(certData, 'base64'));
    return certFile ? new X509Certificate(readFileSync(certFile)) : null;
  } catch (cause) {
    if (systemCode(cause)?.startsWith('E') && certFile && !certData) throw cannotRead(cause);
    throw badCluster(
      `the client certificate of ${name} in the kubeconfig is not valid`,
      'it is in PEM format',
      {
        cause,
      },
    );
  }
}

function assertInTime({ name }: User, { validFromDate, validToDate }: X509Certificate): void {
  const day = (date: Date) => date.toISOString().slice(0, 10);
  const now = Date.now();
  const certificate = `the client certificate of ${name} in the kubeconfig`;
  if (validToDate.getTime() < now)
    throw badCluster(
      `${certificate} expired on ${day(validToDate)}`,
      'you get a new certificate from the cluster’s operator',
    );
  if (validFromDate.getTime() > now)
    throw badCluster(
      `${certificate} is valid from ${day(validFromDate)} on`,
      'the clock of this machine is right',
    );
}

function isOfProgram(cause: unknown): boolean {
  return cause instanceof Error && 'syscall' in cause && String(cause.syscall).startsWith('spawn');
}

function cannotRead(cause: unknown) {
  const path = cause instanceof Error && 'path' in cause ? String(cause.path) : 'of the kubeconfig';
  return badCluster(
    `the file ${path} with credentials of the cluster cannot be read (${systemCode(cause)})`,
    'it exists, and the user of this server may read it',
    { cause },
  );
}
