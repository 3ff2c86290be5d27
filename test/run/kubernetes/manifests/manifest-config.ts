import type { ManifestConfig } from '../../../../src/run/kubernetes/manifests/manifest-config.ts';

const MIB = 1024 * 1024;

/** The settings for manifests in tests, unless a test changes some of them. */
export const manifestConfig: ManifestConfig = {
  domain: 'toolforge.org',
  public_url: '',
  health_time: 120_000,
  grace_time: 15_000,
  schedule_time: 3600_000,
  settle_time: 2000,
  release_time: 600_000,
  one_off_time: 3600_000,
  run_memory: 512 * MIB,
  build_environment: {},
  tool_namespace_prefix: 'tool-',
  make_namespaces: false,
  ingress_namespace: 'ingress-nginx',
  tool_networks_in: [],
  tool_networks_out: [],
  ingress_class: '',
  ingress_annotations: {},
  ingress_tls_secret: '',
  ingress_url: 'https://TOOL.DOMAIN/',
  ingress_time: 2000,
  pod_uid: 0,
  pod_cpu: '1',
  pod_cpu_reserved: '100m',
  pod_memory_reserved: 0,
  pod_disk: 2048 * MIB,
  pod_disk_reserved: 100 * MIB,
  namespace_pods: 64,
  pod_start_time: 300_000,
  image_pull_secrets: [],
  dumps_claim: '',
  replica_secret: '',
  config_vars_secret: '',
};
