import { join, resolve } from 'node:path';
import { homeFolder } from './account.ts';
import {
  autoOrNumber,
  branch,
  flag,
  folder,
  hostName,
  hostPort,
  list,
  mebibytes,
  networks,
  oneOf,
  optionalFile,
  publicHost,
  publicUrl,
  type Setting,
  seconds,
  text,
  variables,
  wholeNumber,
} from './setting-kinds.ts';

const packageFolder = resolve(import.meta.dirname, '../..');

/** The default data folder: the usual place of the system (FHS, XDG Base Directory). */
function defaultDataFolder(): string {
  return process.getuid?.() === 0
    ? '/var/lib/toolforge-push'
    : join(homeFolder(), '.local/share/toolforge-push');
}

/** Settings of the SSH and HTTP servers, of the limits for one tool, and of the local back ends. */
export const serverSettings = {
  data: [
    folder,
    defaultDataFolder(),
    'Folder for repositories, artifacts, logs and the store. Not on a network filesystem.',
  ],
  keys: [folder, join(packageFolder, 'keys'), 'Folder for the SSH host keys and the secrets key.'],
  buildpacks: [folder, join(packageFolder, 'buildpacks'), 'Folder of buildpacks, with their order.toml.'],
  ssh: [hostPort, '127.0.0.1:2222', 'The address at which the SSH server listens; port 0 takes a free port.'],
  http: [
    hostPort,
    '127.0.0.1:8080',
    'The address at which the HTTP server listens, for git and for the tools’ web addresses.',
  ],
  public_ssh: [
    publicHost,
    '',
    'The address at which people reach the SSH server, `host:port`; empty: the one of `ssh`.',
  ],
  public_url: [
    publicUrl,
    '',
    'The address at which people reach the HTTP server, `https://push.example.org`; empty: the one of `http`.',
  ],
  domain: [
    text.regex(hostName, 'a host name alone, as tools.example.org'),
    'localhost',
    'A tool answers at `TOOL.DOMAIN`.',
  ],
  log_level: [oneOf('debug', 'info', 'warn', 'error'), 'info', 'The least severe log lines to print.'],
  tls_certificate: [
    optionalFile,
    '',
    'PEM file with the certificate. With `tls_key`, the HTTP server uses TLS.',
  ],
  tls_key: [optionalFile, '', 'PEM file with the key of the certificate.'],
  trusted_proxies: [
    list,
    '',
    'Addresses, CIDR ranges or, with `runtime: kubernetes`, host names of reverse proxies that end TLS and set X-Forwarded-Proto and X-Forwarded-For. Names are looked up every five seconds.',
  ],
  deploy_branch: [branch, 'main', 'The branch that is live: a push to it is deployed.'],
  licence_policy: [
    oneOf('ignore', 'warn', 'refuse'),
    'warn',
    'What happens to a push without a licence file.',
  ],
  concurrent_deployments: [
    autoOrNumber(1, 64),
    'auto',
    'Deployments at the same time, of all tools; `auto`: 3 if `builder` is `local`, 10 in a cluster. If it is more than one, the last free place is kept for people who have no deployment running.',
  ],
  build_time: [seconds(1, 86_400), '900', 'Seconds that one build may take.'],
  build_processes: [
    wholeNumber(16, 32_768),
    '512',
    'Processes and threads of one build, if builds run on this machine. In a cluster the kubelet limits them (`podPidsLimit`).',
  ],
  build_memory: [mebibytes(64, 1_048_576), '4096', 'MiB of memory for one build.'],
  build_disk: [mebibytes(16, 1_048_576), '4096', 'MiB of disk for one build.'],
  build_files: [
    wholeNumber(1000, 100_000_000),
    '500000',
    'Files and folders of one build; at most half of all that the file system can hold.',
  ],
  artifact_size: [mebibytes(1, 1_048_576), '2048', 'MiB of the artifact that one build makes.'],
  build_output: [mebibytes(1, 4096), '100', 'MiB of output of one build. A build that prints more is ended.'],
  pack_size: [mebibytes(1, 102_400), '512', 'MiB of one push.'],
  push_refs: [wholeNumber(1, 10_000), '500', 'Refs in one push.'],
  repository_size: [
    mebibytes(1, 1_048_576),
    '4096',
    'MiB of the repository of one tool. If it is larger, pushes are refused.',
  ],
  builds_a_day: [wholeNumber(1, 100_000), '200', 'Builds of one tool within 24 hours.'],
  tree_files: [wholeNumber(1, 10_000_000), '50000', 'Files in a commit.'],
  tree_bytes: [mebibytes(1, 102_400), '1024', 'MiB of a commit, unpacked.'],
  health_time: [
    seconds(1, 3600),
    '120',
    'Seconds until a new release must answer. A web process that listens on a port other than PORT has 15.',
  ],
  settle_time: [
    wholeNumber(0, 60_000),
    '2000',
    'Milliseconds that a process without a port must run to count as started.',
  ],
  release_time: [seconds(1, 86_400), '600', 'Seconds that the release command of a tool may take.'],
  schedule_time: [
    seconds(1, 604_800),
    '86400',
    'Seconds that one run of a scheduled process may take; `timeout` in toolforge.yaml may ask for less.',
  ],
  process_types: [
    wholeNumber(1, 1000),
    '20',
    'Process types of one tool that run all the time, including `web`.',
  ],
  scheduled_processes: [wholeNumber(0, 1000), '20', 'Scheduled processes of one tool.'],
  answer_time: [
    seconds(1, 86_400),
    '300',
    'Seconds until a tool must begin to answer a web request, if tools run on this machine. After that, the client gets 504. Queries of the wiki replicas can take minutes.',
  ],
  drain_time: [
    seconds(0, 3600),
    '10',
    'Seconds that the running requests have before the old release is ended.',
  ],
  grace_time: [seconds(0, 3600), '15', 'Seconds between SIGTERM and SIGKILL.'],
  run_processes: [
    wholeNumber(4, 32_768),
    '128',
    'Processes and threads of one process of a tool, if tools run on this machine. In a cluster the kubelet limits them (`podPidsLimit`).',
  ],
  run_memory: [mebibytes(16, 1_048_576), '512', 'MiB of memory for one process of a tool.'],
  run_disk: [
    mebibytes(0, 1_048_576),
    '2048',
    'MiB that one process of a tool may have on disk, in /tmp and its home, if tools run on this machine; 0: no limit.',
  ],
  run_files: [
    wholeNumber(0, 100_000_000),
    '50000',
    'Files and folders that one process of a tool may have there; 0: no limit. All processes of a tool together may have a quarter of all that the file system can hold.',
  ],
  max_replicas: [
    wholeNumber(1, 1000),
    '4',
    'Processes of one type of a tool, whether asked for by `scale` or by `replicas` in service.template.',
  ],
  concurrent_one_offs: [wholeNumber(1, 1000), '2', 'Commands of `run` at the same time for one tool.'],
  one_off_time: [seconds(1, 604_800), '3600', 'Seconds that a command of `run` may take.'],
  log_size: [
    mebibytes(1, 1024),
    '10',
    'MiB of the log of one process of a tool. The current file and the one before are kept, so twice this size.',
  ],
  keep_artifacts: [
    wholeNumber(1, 1000),
    '10',
    'Builds of a tool whose artifacts are kept for a rollback: the newest that were released. Releases by config vars and rollbacks do not count, because they build nothing.',
  ],
  ssh_grace_time: [seconds(1, 600), '30', 'Seconds from connection to login.'],
  ssh_startups: [
    wholeNumber(1, 10_000),
    '100',
    'Connections of all addresses at one step of the login. The steps are: silent, introduced, keys exchanged.',
  ],
  ssh_per_address: [
    wholeNumber(1, 10_000),
    '20',
    'Connections of one address (a /64 of IPv6) at one step of the login. A new one pushes out the oldest.',
  ],
  ssh_per_person: [wholeNumber(1, 10_000), '20', 'Connections of one person that have logged in.'],
  sandbox: [
    oneOf('auto', 'isolated', 'trusted'),
    'auto',
    '`isolated` needs bwrap and pasta. `trusted` runs tools without isolation, for one trusted user. `auto` isolates if the machine can.',
  ],
  sandbox_uid: [
    wholeNumber(1000, 4_000_000_000),
    '700000',
    'If the server is root, the tool with number N runs under this uid plus N.',
  ],
  blocked_networks: [
    networks,
    '169.254.169.254/32 fd00:ec2::254/128',
    'Networks that isolated builds and tools cannot reach, in CIDR form. At the default addresses, clouds give out credentials of the machine; keep them, and add other networks that only this machine may use. The addresses of this machine itself can never be reached.',
  ],
  build_environment: [
    variables,
    '',
    'Variables for every build and process, such as proxies, package indexes and certificate authorities: `NAME=value`, separated by spaces. Empty: those of the server’s own environment.',
  ],
  colour: [flag, 'true', 'Colours in the output of a push. `-o no-color` switches them off for one push.'],
} as const satisfies Record<string, Setting>;
