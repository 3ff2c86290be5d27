import type { Config } from '../../config.ts';

/** What this back end reads of the settings. */
export type KubernetesBuilderConfig = Pick<
  Config,
  | 'data'
  | 'build_time'
  | 'build_processes'
  | 'build_memory'
  | 'build_disk'
  | 'artifact_size'
  | 'build_output'
  | 'build_environment'
  | 'scheduled_processes'
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
