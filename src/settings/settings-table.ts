import { backEndSettings } from './back-end-settings.ts';
import { directorySettings } from './directory-settings.ts';
import { kubernetesBuilderSettings } from './kubernetes-builder-settings.ts';
import { kubernetesRuntimeSettings } from './kubernetes-runtime-settings.ts';
import { serverSettings } from './server-settings.ts';

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
