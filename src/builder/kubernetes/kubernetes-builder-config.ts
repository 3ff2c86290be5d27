import type { Config } from '../../config.ts';
import type { BuildSettings } from '../build-settings.ts';

/** The settings that builds in a cluster read. */
export type KubernetesBuilderConfig = BuildSettings &
  Pick<
    Config,
    | 'build_namespace'
    | 'build_cpu'
    | 'builder_image'
    | 'run_image'
    | 'registry'
    | 'registry_plain_http'
    | 'registry_credentials'
    | 'registry_secret'
    | 'source_url'
    | 'harbor_url'
    | 'harbor_user'
    | 'harbor_password_file'
    | 'harbor_project_size'
  >;
