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
const cores = (meaning: string) => text.regex(/^([1-9]\d*m|\d+(\.\d+)?)$/, `${meaning}, such as 500m or 1`);

/** Settings for tools that run in a cluster. They count only if the setting `runtime` is `kubernetes`. */
export const kubernetesRuntimeSettings = {
  tool_namespace_prefix: [
    text.regex(/^[a-z0-9]([-a-z0-9]{0,30})$/, 'lower-case letters, digits and -'),
    'tool-',
    'The namespace of a tool is this prefix followed by the tool’s name.',
  ],
  make_namespaces: [
    flag,
    'false',
    'Whether the server makes the namespace of a tool that has none, with Pod Security `restricted` and a NetworkPolicy. The server then needs rights in every namespace: docs/operating.md. `false`: the platform makes the namespaces.',
  ],
  ingress_namespace: [
    text.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'the name of a namespace'),
    'ingress-nginx',
    'With `make_namespaces`: the namespace of the ingress controller. Pods in this namespace can reach the tools.',
  ],
  tool_networks_in: [
    networks,
    '',
    'With `make_namespaces`: networks that can reach the tools, for example the network of the nodes if the ingress controller is not in the pod network.',
  ],
  tool_networks_out: [
    networks,
    '',
    'With `make_namespaces`: internal networks that tools can reach, for example networks of databases. Tools can always reach the internet.',
  ],
  namespace_pods: [
    wholeNumber(0, 100_000),
    '64',
    'With `make_namespaces`: how many processes of the largest size the ResourceQuota of a namespace allows. A rollout needs quota for two releases. 0: no quota.',
  ],
  ingress_class: [
    text.regex(objectName, 'the name of an IngressClass'),
    '',
    'The IngressClass of the tools’ Ingresses. If empty, the default class of the cluster.',
  ],
  ingress_url: [
    text.regex(
      /^https?:\/\/TOOL\.DOMAIN(:\d{1,5})?\/$/,
      'https://TOOL.DOMAIN/ or http://TOOL.DOMAIN/, each with or without a port',
    ),
    'https://TOOL.DOMAIN/',
    'The address at which people reach a tool through the ingress controller. TOOL stands for the name of the tool, DOMAIN for the setting `domain`.',
  ],
  ingress_annotations: [
    annotations,
    '',
    'Annotations of each tool’s Ingress, for example for the issuer of its certificate.',
  ],
  ingress_tls_secret: [
    text.regex(
      /^((TOOL|[a-z0-9])([-.]?(TOOL|[a-z0-9]))*)?$/,
      'the name of a Secret, with TOOL instead of the name of the tool',
    ),
    '',
    'Secret in the namespace of each tool with the certificate of its Ingress. TOOL stands for the tool’s name. If empty, the ingress controller uses its own certificate.',
  ],
  ingress_time: [
    wholeNumber(0, 60_000),
    '2000',
    'Milliseconds that the ingress controller and the nodes need to follow a change of a Service’s endpoints.',
  ],
  pod_uid: [
    wholeNumber(0, 4_000_000_000),
    '0',
    'The tool with the number N runs under this uid plus N. 0: tools run under the uid of their image, which must be a number. Under another uid than that of their image, tools cannot write to /workspace.',
  ],
  pod_cpu: [
    cores('cores'),
    '1',
    'The maximum CPU of one process, in cores. The files of the tool and `scale` can set less.',
  ],
  pod_cpu_reserved: [
    cores('cores'),
    '100m',
    'The CPU that is reserved for one process (the request), in cores.',
  ],
  pod_memory_reserved: [
    wholeNumber(0, 100),
    '0',
    'Percent of a process’s memory limit that is reserved for it (the request). 0: as on Toolforge, all of a limit up to 512 MiB, and half of a larger limit.',
  ],
  pod_disk: [
    mebibytes(0, 1_048_576),
    '2048',
    'The maximum disk space of one process on its node, in MiB. 0: no limit.',
  ],
  pod_disk_reserved: [
    mebibytes(0, 1_048_576),
    '100',
    'The disk space that is reserved for one process on its node (the request), in MiB.',
  ],
  pod_start_time: [
    seconds(1, 3600),
    '300',
    'Seconds within which a new pod must get a node and its image. `health_time` begins afterwards.',
  ],
  image_pull_secrets: [
    list,
    '',
    'Secrets in the namespace of each tool with the credentials to pull images that are not public, of type dockerconfigjson.',
  ],
  dumps_claim: [
    text.regex(objectName, 'the name of a PersistentVolumeClaim'),
    '',
    'PersistentVolumeClaim in the namespace of each tool that is mounted read-only at /public/dumps. If empty, nothing is mounted there.',
  ],
  config_vars_secret: [
    text.regex(objectName, 'the name of a Secret'),
    '',
    'Secret in the namespace of each tool whose keys and values are config vars of the tool. The server reads the Secret at each start of a release and at each `run`. If empty, the server stores all config vars.',
  ],
  replica_secret: [
    text.regex(objectName, 'the name of a Secret'),
    '',
    'Secret in the namespace of each tool whose key replica.my.cnf is mounted as a file in TOOL_DATA_DIR. If the Secret has the keys TOOL_REPLICA_USER and TOOL_REPLICA_PASSWORD, processes get them as variables. If empty, nothing is mounted there.',
  ],
} as const satisfies Record<string, Setting>;
