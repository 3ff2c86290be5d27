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
    'Where builds run. `local`: on this machine. `kubernetes`: each build is a Job in the cluster that stores an image in `registry`.',
  ],
  runtime: [
    oneOf('local', 'kubernetes'),
    'local',
    'Where tools run. `local`: on this machine. `kubernetes`: in the cluster, each tool in its own namespace. `runtime` must have the same value as `builder`.',
  ],
  kubernetes_context: [
    text,
    '',
    'The context in the kubeconfig to use. If empty, the cluster in which this server runs, otherwise the current context of the kubeconfig.',
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
