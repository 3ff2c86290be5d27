import { directorySettings } from './directory-settings.ts';
import { kubernetesBuilderSettings } from './kubernetes-builder-settings.ts';
import { kubernetesRuntimeSettings } from './kubernetes-runtime-settings.ts';
import { serverSettings } from './server-settings.ts';
import { oneOf, type Setting, text } from './setting-kinds.ts';

/** Settings that choose where tools are built and where they run. */
const backEndSettings = {
  builder: [
    oneOf('local', 'kubernetes'),
    'local',
    'Where builds run. `local`: on this machine. `kubernetes`: each as a Job of the cluster, which stores an image in `registry`.',
  ],
  runtime: [
    oneOf('local', 'kubernetes'),
    'local',
    'Where tools run. `local`: on this machine. `kubernetes`: in the cluster, each tool in its own namespace. Must be the same as `builder`.',
  ],
  kubernetes_context: [
    text,
    '',
    'The context of the kubeconfig; empty: the cluster that this server runs in, or otherwise the current context.',
  ],
} as const satisfies Record<string, Setting>;

/**
 * Every setting by its name in the YAML file. Its environment variable is `TOOLFORGE_PUSH_` and the name in upper case.
 */
export const settings = {
  ...serverSettings,
  ...directorySettings,
  ...kubernetesBuilderSettings,
  ...kubernetesRuntimeSettings,
  ...backEndSettings,
} as const;
