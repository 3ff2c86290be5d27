import { chmod, chown, copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { OURS } from './kubectl.ts';

const manifests = resolve(import.meta.dirname, '../../../deploy/kubernetes');

export interface Overlay {
  readonly image: string;
  /** In place of those in settings.yaml. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Files of the Secret, by name. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** Writes what an operator writes: an overlay on the manifests of the product. @returns the folder, for `kubectl apply -k`. */
export async function writeOverlay(folder: string, { image, settings, secrets }: Overlay): Promise<string> {
  const overlay = join(folder, 'overlay');
  await cp(manifests, join(overlay, 'base'), { recursive: true });
  const given = parse(await readFile(join(manifests, 'settings.yaml'), 'utf8')) as Record<string, unknown>;
  await writeFile(join(overlay, 'settings.yaml'), stringify({ ...given, ...settings }));
  await mkdir(join(overlay, 'secrets'));
  for (const [name, path] of Object.entries(secrets)) await copyFile(path, join(overlay, 'secrets', name));
  const base = parse(await readFile(join(manifests, 'kustomization.yaml'), 'utf8')) as Kustomization;
  const colon = image.lastIndexOf(':');
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: ['base'],
    images: [
      { name: base.images[0]?.newName, newName: image.slice(0, colon), newTag: image.slice(colon + 1) },
    ],
    configMapGenerator: [
      {
        name: 'toolforge-push-settings',
        namespace: 'toolforge-push',
        behavior: 'replace',
        files: ['settings.yaml'],
      },
    ],
    secretGenerator: [
      {
        name: 'toolforge-push-secrets',
        namespace: 'toolforge-push',
        files: Object.keys(secrets).map((name) => `secrets/${name}`),
      },
    ],
    patches: [
      { target: { kind: 'StatefulSet' }, patch: stringify(smallVolume) },
      { target: { kind: 'Namespace' }, patch: stringify(ours) },
    ],
  };
  await writeFile(join(overlay, 'kustomization.yaml'), stringify(kustomization));
  return overlay;
}

interface Kustomization {
  readonly images: readonly { readonly newName: string }[];
}

const claim = '/spec/volumeClaimTemplates/0/spec';
const smallVolume = [
  { op: 'add', path: `${claim}/storageClassName`, value: '' },
  { op: 'replace', path: `${claim}/resources/requests/storage`, value: '1Gi' },
];
const ours = [{ op: 'add', path: `/metadata/labels/${OURS.replace('/', '~1')}`, value: 'true' }];

/** A volume for the server in a folder of this machine, which the node can see: for a cluster without a StorageClass. */
export async function hostVolume(name: string, folder: string): Promise<object> {
  await mkdir(folder);
  await chmod(folder, 0o700);
  await chown(folder, 10_001, 10_001);
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: ['ReadWriteOnce'],
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: '',
      claimRef: { namespace: 'toolforge-push', name: 'volume-toolforge-push-0' },
      hostPath: { path: folder, type: 'Directory' },
    },
  };
}

/** What the platform makes for a tool: its namespace, and the server's rights in it. */
export function rightsIn(namespace: string): object {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'toolforge-push', namespace },
    roleRef: {
      apiGroup: 'rbac.authorization.k8s.io',
      kind: 'ClusterRole',
      name: 'toolforge-push-tools',
    },
    subjects: [{ kind: 'ServiceAccount', name: 'toolforge-push', namespace: 'toolforge-push' }],
  };
}
