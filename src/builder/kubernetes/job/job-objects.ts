import type { V1Job, V1OwnerReference, V1Secret } from '@kubernetes/client-node';
import { stringify } from 'smol-toml';
import { type Applied, applyObject } from '../../../kubernetes/apply.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { isNotFound, variablesTooLarge } from '../../../kubernetes/faults/api-refusals.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import type { BuildRequest } from '../../builder.ts';
import { platformVariables } from '../../buildpack-api/build-mounts.ts';
import { type BuildJob, buildJob } from './build-job.ts';
import { BUILD_LABEL } from './build-names.ts';
import { makeInRoom, type Room } from './quota-wait.ts';

/** The content of a build's Secrets. */
export interface BuildSecrets {
  readonly token: string;
  /**
   * The variables that buildpacks can read: the operator's variables for builds, the variables of app.json and
   * project.toml, and the tool's config vars.
   */
  readonly variables: Readonly<Record<string, string>>;
  readonly request: Pick<BuildRequest, 'id' | 'commit'>;
  /** A docker configuration with a registry login for this build alone. Null if the build has no login of its own. */
  readonly dockerConfig: string | null;
}

/** The API's limit for the values of one Secret together. It counts the bytes before base64, and no names. */
const MAX_SECRET_BYTES = 1024 * 1024;

/**
 * Makes a build's Job and its Secrets, then starts the Job. The Job owns the Secrets, so the cluster deletes the
 * Secrets together with the Job.
 *
 * @throws DeployError `CONFIG_TOO_LARGE` if the variables do not fit into a Secret; `BUILD_QUOTA` if the namespace
 * has no room; `BUILD_NAMESPACE` if there is no such namespace; another code if the cluster refuses or does not answer.
 */
export async function startJob(
  cluster: Cluster,
  job: BuildJob,
  secrets: BuildSecrets,
  room: Room,
): Promise<void> {
  const { signal } = room;
  const variables = platformVariables(secrets.variables);
  const bytes = Object.values(variables).reduce((sum, value) => sum + Buffer.byteLength(value), 0);
  if (bytes > MAX_SECRET_BYTES) throw variablesTooLarge();
  const platform = encoded(variables);
  const object = buildJob(job);
  const made = await makeInRoom(() => applyObject<V1Job>(cluster, object, { signal }), room);
  const owner = { apiVersion: 'batch/v1', kind: 'Job', name: job.name, uid: made.metadata?.uid ?? '' };
  await Promise.all(
    secretsOf(job, secrets, platform, owner).map((secret) =>
      makeInRoom(() => applyObject<V1Secret>(cluster, secret, { signal }), room),
    ),
  );
  await applyObject<V1Job>(cluster, { ...object, spec: { ...object.spec, suspend: false } }, { signal });
}

function secretsOf(
  job: BuildJob,
  { request, token, dockerConfig }: BuildSecrets,
  platform: Record<string, string>,
  owner: V1OwnerReference,
): Applied<V1Secret>[] {
  const secret = (name: string, data: Record<string, string>, type = 'Opaque') => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: job.namespace, labels: { ...job.labels }, ownerReferences: [owner] },
    type,
    data,
  });
  const about = {
    authorization: `Authorization: Bearer ${token}\n`,
    'project-metadata.toml': projectMetadata(request),
  };
  const secrets = [secret(job.secrets.build, encoded(about)), secret(job.secrets.platform, platform)];
  if (dockerConfig === null || job.secrets.registry === null) return secrets;
  const login = encoded({ '.dockerconfigjson': dockerConfig });
  return [...secrets, secret(job.secrets.registry, login, 'kubernetes.io/dockerconfigjson')];
}

/** Deletes a Job with its pod and Secrets. Does nothing if the Job does not exist. */
export async function deleteJob(
  cluster: Cluster,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  await retrying(
    () => cluster.batch.deleteNamespacedJob({ namespace, name, propagationPolicy: 'Background' }),
    { signal },
  ).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
}

export async function jobsOf(
  cluster: Cluster,
  namespace: string,
  labelSelector: string,
  signal: AbortSignal,
): Promise<{ readonly name: string; readonly build: string }[]> {
  const { items } = await retrying(() => cluster.batch.listNamespacedJob({ namespace, labelSelector }), {
    signal,
  });
  return items.map(({ metadata }) => ({
    name: metadata?.name ?? '',
    build: metadata?.labels?.[BUILD_LABEL] ?? '',
  }));
}

/**
 * The text of project-metadata.toml, which becomes a label of the image. The text has the id of the build. So each
 * build makes an image with its own digest, which can be deleted without the images of other builds.
 */
function projectMetadata({ id, commit }: BuildSecrets['request']): string {
  return stringify({ source: { type: 'git', version: { commit }, metadata: { build: id } } });
}

function encoded(texts: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );
}
