import { backEndSettings } from './back-ends.ts';
import { directorySettings } from './directory.ts';
import { kubernetesBuilderSettings } from './kubernetes-builder.ts';
import { kubernetesRuntimeSettings } from './kubernetes-runtime.ts';
import { serverSettings } from './server.ts';

/**
 * Every setting: its name in the YAML file, its default as it would be written there, how it is read, and
 * what it is for. The environment name is `TOOLFORGE_PUSH_` and the name in upper case.
 */
export const settings = {
  ...serverSettings,
  ...directorySettings,
  ...kubernetesBuilderSettings,
  ...kubernetesRuntimeSettings,
  ...backEndSettings,
} as const;
