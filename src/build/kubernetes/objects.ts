import type { V1Job, V1OwnerReference, V1Secret } from '@kubernetes/client-node';
import { stringify } from 'smol-toml';
import { type Applied, applyObject } from '../../kubernetes/applying.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { isNotFound } from '../../kubernetes/refusals.ts';
import { retrying } from '../../kubernetes/retrying.ts';
import { isVariableName } from '../build-places.ts';
import type { BuildRequest } from '../builder.ts';
import { variablesTooLarge } from './failures.ts';
import { type BuildJob, buildJob } from './job.ts';
import { BUILD_LABEL } from './names.ts';
import { makeInRoom, type Room } from './room.ts';

/** What the Secrets of a build hold. */
export interface BuildSecrets {
  readonly token: string;
  /** What buildpacks get. */
  readonly variables: Readonly<Record<string, string>>;
  readonly request: Pick<BuildRequest, 'id' | 'commit'>;
  /** A docker configuration made for this build alone; null = none was. */
  readonly dockerConfig: string | null;
}

/** What the API takes for one Secret; in base64 it is a third more, and the rest of the object counts too. */
const maxSecretBytes = 1024 * 1024;

/**
 * Makes a build's Job and its Secrets, then lets it begin. The Secrets belong to the Job: whatever deletes that
 * deletes them.
 *
 * @throws DeployError `CONFIG_TOO_LARGE`; as `makeInRoom` and `retrying`.
 */
export async function startJob(
  cluster: Cluster,
  job: BuildJob,
  secrets: BuildSecrets,
  room: Room,
): Promise<void> {
  const { signal } = room;
  const platform = encoded(platformVariables(secrets.variables));
  const bytes = Object.entries(platform).reduce((sum, pair) => sum + pair.join('').length, 0);
  if (bytes > maxSecretBytes) throw variablesTooLarge();
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

/** Deletes a Job with its pod and Secrets; no error where it is not there. */
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

/** The Jobs of builds that a selector finds. */
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

/** As the embedded builder has them, and what makes the same bytes of the same input. */
function platformVariables(variables: Readonly<Record<string, string>>): Record<string, string> {
  const usable = Object.entries(variables).filter(
    ([name, value]) => isVariableName(name) && !value.includes('\0'),
  );
  return { LANG: 'C.UTF-8', SOURCE_DATE_EPOCH: FIRST_DATE, ...Object.fromEntries(usable) };
}

/** ZIP files begin in 1980. */
const FIRST_DATE = '315532801';

/** It becomes a label of the image, which makes that of every build another: one can be deleted without the others. */
function projectMetadata({ id, commit }: BuildSecrets['request']): string {
  return stringify({ source: { type: 'git', version: { commit }, metadata: { build: id } } });
}

function encoded(texts: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );
}
