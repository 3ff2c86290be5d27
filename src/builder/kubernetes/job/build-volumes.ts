import type { V1Volume, V1VolumeMount } from '@kubernetes/client-node';

/**
 * The volumes that a container of a build may mount. A file in `control` names the images that are read with the
 * registry's credential, so no code of a tool may write to `control`. The phase `build` runs a tool's code, so the
 * detector in this phase writes its results to `detected` instead.
 */
export type BuildVolume =
  | 'workspace'
  | 'layers'
  | 'control'
  | 'control (read-only)'
  | 'detected'
  | 'detected (read-only)'
  | 'platform'
  | 'source'
  | 'about'
  | 'registry';

/** The names of the Secrets that containers of a build mount. */
export interface MountedSecrets {
  /** The Secret with `authorization`, the HTTP header to fetch the source with, and `project-metadata.toml`. */
  readonly build: string;
  /** The Secret with one key for each variable that buildpacks can read in /platform/env. */
  readonly platform: string;
  /** The Secret of type dockerconfigjson for the registry; null = the registry needs no login. */
  readonly registry: string | null;
}

const PATHS = {
  workspace: '/workspace',
  layers: '/layers',
  control: '/control',
  detected: '/detected',
  platform: '/platform/env',
  source: '/source',
  about: '/about',
  registry: '/registry',
} as const;

const WRITABLE: ReadonlySet<BuildVolume> = new Set(['workspace', 'layers', 'control', 'detected']);

/** The mounts of a container that may see the volumes `names`. */
export function mountsOf(names: readonly BuildVolume[], secrets: MountedSecrets): V1VolumeMount[] {
  return names.flatMap((entry) => {
    const name = entry.replace(' (read-only)', '') as keyof typeof PATHS;
    if (name === 'registry' && secrets.registry === null) return [];
    return [{ name, mountPath: PATHS[name], readOnly: !WRITABLE.has(entry) }];
  });
}

/**
 * All volumes of a build's pod.
 *
 * @param diskBytes - The size limit of each volume that may become large.
 */
export function volumesOf(secrets: MountedSecrets, diskBytes: number): V1Volume[] {
  const room = { emptyDir: { sizeLimit: String(diskBytes) } };
  const secret = (secretName: string, from: string, to: string) => ({
    secret: { secretName, items: [{ key: from, path: to }], defaultMode: 0o444 },
  });
  return [
    { name: 'workspace', ...room },
    { name: 'layers', ...room },
    ...['control', 'detected'].map((name) => ({ name, emptyDir: { sizeLimit: '16Mi' } })),
    { name: 'platform', secret: { secretName: secrets.platform, defaultMode: 0o444 } },
    { name: 'source', ...secret(secrets.build, 'authorization', 'authorization') },
    { name: 'about', ...secret(secrets.build, 'project-metadata.toml', 'project-metadata.toml') },
    ...(secrets.registry === null
      ? []
      : [{ name: 'registry', ...secret(secrets.registry, '.dockerconfigjson', 'config.json') }]),
  ];
}
