import type { Config } from '../config.ts';

/**
 * The settings of builds on one machine (LocalBuilder) and in a cluster (KubernetesBuilder). Only LocalBuilder uses
 * `build_processes`.
 */
export type BuildSettings = Pick<
  Config,
  | 'data'
  | 'build_time'
  | 'build_processes'
  | 'build_memory'
  | 'build_disk'
  | 'build_files'
  | 'artifact_size'
  | 'build_output'
  | 'build_environment'
  | 'process_types'
  | 'scheduled_processes'
>;
