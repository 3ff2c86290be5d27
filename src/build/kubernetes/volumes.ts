import type { V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import type { BuildJob } from './job.ts';

/** What a container of a build may see. `control` holds what the lifecycle decided: no code of a tool writes it. */
export type BuildVolume =
  | 'workspace'
  | 'layers'
  | 'control'
  | 'control (read-only)'
  | 'platform'
  | 'source'
  | 'about'
  | 'registry';

const PATHS = {
  workspace: '/workspace',
  layers: '/layers',
  control: '/control',
  platform: '/platform/env',
  source: '/source',
  about: '/about',
  registry: '/registry',
} as const;

/** Where the volumes are in a container that may see these. */
export function mountsOf(
  names: readonly BuildVolume[],
  { secrets }: Pick<BuildJob, 'secrets'>,
): V1VolumeMount[] {
  return names.flatMap((entry) => {
    const name = entry === 'control (read-only)' ? 'control' : entry;
    if (name === 'registry' && secrets.registry === null) return [];
    const isWritable = entry === 'workspace' || entry === 'layers' || entry === 'control';
    return [{ name, mountPath: PATHS[name], readOnly: !isWritable }];
  });
}

/** All volumes of a build's pod. */
export function volumesOf({ secrets, limits }: Pick<BuildJob, 'secrets' | 'limits'>): V1Volume[] {
  const room = { emptyDir: { sizeLimit: String(limits.diskBytes) } };
  const secret = (secretName: string, from: string, to: string) => ({
    secret: { secretName, items: [{ key: from, path: to }], defaultMode: 0o444 },
  });
  return [
    { name: 'workspace', ...room },
    { name: 'layers', ...room },
    { name: 'control', emptyDir: { sizeLimit: '16Mi' } },
    { name: 'platform', secret: { secretName: secrets.platform, defaultMode: 0o444 } },
    { name: 'source', ...secret(secrets.build, 'authorization', 'authorization') },
    { name: 'about', ...secret(secrets.build, 'project-metadata.toml', 'project-metadata.toml') },
    ...(secrets.registry === null
      ? []
      : [{ name: 'registry', ...secret(secrets.registry, '.dockerconfigjson', 'config.json') }]),
  ];
}
