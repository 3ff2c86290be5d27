import {
  annotations,
  flag,
  list,
  mebibytes,
  networks,
  type Setting,
  seconds,
  text,
  wholeNumber,
} from './setting-kinds.ts';

const objectName = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$/;
const cores = (meaning: string) => text.regex(/^([1-9]\d*m|\d+(\.\d+)?)$/, `${meaning}, as 500m or 1`);

/** Settings for tools in a cluster: `runtime` is `kubernetes`. */
export const kubernetesRuntimeSettings = {
  tool_namespace_prefix: [
    text.regex(/^[a-z0-9]([-a-z0-9]{0,30})$/, 'lower-case letters, digits and -'),
    'tool-',
    'The namespace of a tool is this prefix followed by the tool’s name.',
  ],
  make_namespaces: [
    flag,
    'false',
    'Make the namespace of a tool if it is missing, with Pod Security `restricted` and a NetworkPolicy. For this the server needs rights in every namespace: docs/operating.md. `false`: the platform makes the namespaces.',
  ],
  ingress_namespace: [
    text.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'the name of a namespace'),
    'ingress-nginx',
    'With `make_namespaces`: the namespace of the ingress controller. Its pods can reach the tools.',
  ],
  tool_networks_in: [
    networks,
    '',
    'With `make_namespaces`: networks that can reach the tools, for example those of the nodes if the ingress controller is not in the pod network.',
  ],
  tool_networks_out: [
    networks,
    '',
    'With `make_namespaces`: internal networks that tools can reach, for example those of databases. Tools can reach the internet in any case.',
  ],
  namespace_pods: [
    wholeNumber(0, 100_000),
    '64',
    'With `make_namespaces`: the ResourceQuota of a namespace allows this many processes of the largest size. A rollout needs enough for two releases. 0: no quota.',
  ],
  ingress_class: [
    text.regex(objectName, 'the name of an IngressClass'),
    '',
    'The ingress controller that serves the tools; empty: the cluster’s default.',
  ],
  ingress_url: [
    text.regex(/^https?:\/\/TOOL\.DOMAIN(:\d{1,5})?\/$/, 'https://TOOL.DOMAIN/, http or with a port'),
    'https://TOOL.DOMAIN/',
    'The address at which people reach a tool through the ingress controller. TOOL stands for its name, DOMAIN for the setting `domain`.',
  ],
  ingress_annotations: [
    annotations,
    '',
    'Annotations of each tool’s Ingress, for example for the issuer of its certificate.',
  ],
  ingress_tls_secret: [
    text.regex(
      /^((TOOL|[a-z0-9])([-.]?(TOOL|[a-z0-9]))*)?$/,
      'the name of a Secret, with TOOL for that of the tool',
    ),
    '',
    'Secret in the namespace of each tool with the certificate of its Ingress. TOOL stands for the tool’s name. Empty: the controller’s own certificate.',
  ],
  ingress_time: [
    wholeNumber(0, 60_000),
    '2000',
    'Milliseconds that the ingress controller and the nodes need to follow a change of a Service’s endpoints.',
  ],
  pod_uid: [
    wholeNumber(0, 4_000_000_000),
    '0',
    'The tool with number N runs under this uid plus N. 0: it runs under the uid of its image, which must be a number.',
  ],
  pod_cpu: [
    cores('cores'),
    '1',
    'Cores that one process may use; `cpu` of service.template may ask for less.',
  ],
  pod_cpu_reserved: [cores('cores'), '100m', 'Cores that are reserved for one process.'],
  pod_memory_reserved: [
    wholeNumber(0, 100),
    '0',
    'Percent of its memory that is reserved for one process; 0: as on Toolforge, all of up to 512 MiB and half of more.',
  ],
  pod_disk: [
    mebibytes(0, 1_048_576),
    '2048',
    'MiB that one process may write to its node’s disk; 0: no limit.',
  ],
  pod_disk_reserved: [
    mebibytes(0, 1_048_576),
    '100',
    'MiB of its node’s disk that are reserved for one process.',
  ],
  pod_start_time: [
    seconds(1, 3600),
    '300',
    'Seconds that a new pod has to find a node and get its image, before `health_time` begins.',
  ],
  image_pull_secrets: [
    list,
    '',
    'Secrets of type dockerconfigjson in the namespace of each tool, for images that are not public.',
  ],
  dumps_claim: [
    text.regex(objectName, 'the name of a PersistentVolumeClaim'),
    '',
    'PersistentVolumeClaim in the namespace of each tool that is mounted read-only at /public/dumps; empty: none.',
  ],
  replica_secret: [
    text.regex(objectName, 'the name of a Secret'),
    '',
    'Secret in the namespace of each tool whose key replica.my.cnf is mounted in TOOL_DATA_DIR; empty: none.',
  ],
} as const satisfies Record<string, Setting>;
