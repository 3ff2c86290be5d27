import { join, resolve } from 'node:path';
import { defaultDataFolder } from './account.ts';
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

/** All settings except those of the user directory, of clusters, and of the choice of back ends. */
export const serverSettings = {
  data: [
    folder,
    defaultDataFolder(),
    'Folder for repositories, artifacts, logs and the store. It must not be on a network filesystem.',
  ],
  keys: [
    folder,
    join(packageFolder, 'keys'),
    'Folder for the SSH host keys and for secrets.key, which encrypts the config vars.',
  ],
  buildpacks: [
    folder,
    join(packageFolder, 'buildpacks'),
    'Folder of buildpacks. Its order.toml lists the buildpacks in their order.',
  ],
  ssh: [
    hostPort,
    '127.0.0.1:2222',
    'The address at which the SSH server listens. Port 0 takes any free port.',
  ],
  http: [
    hostPort,
    '127.0.0.1:8080',
    'The address at which the HTTP server listens, for git and for the tools’ web addresses.',
  ],
  public_ssh: [
    publicHost,
    '',
    'The address at which people reach the SSH server, `host:port`. If empty, the address in the setting `ssh`.',
  ],
  public_url: [
    publicUrl,
    '',
    'The address at which people reach the HTTP server, `https://push.example.org`. If empty, the address in the setting `http`.',
  ],
  domain: [
    text.regex(hostName, 'only a host name, such as tools.example.org'),
    'localhost',
    'The domain of the tools: a tool answers at `TOOL.DOMAIN`.',
  ],
  log_level: [
    oneOf('debug', 'info', 'warn', 'error'),
    'info',
    'The server prints log lines of this level and of more severe levels.',
  ],
  tls_certificate: [
    optionalFile,
    '',
    'PEM file with the certificate of the HTTP server. With `tls_key`, the HTTP server uses TLS.',
  ],
  tls_key: [optionalFile, '', 'PEM file with the private key of `tls_certificate`.'],
  trusted_proxies: [
    list,
    '',
    'Reverse proxies that end TLS and set X-Forwarded-Proto and X-Forwarded-For: addresses, CIDR ranges or, with `runtime: kubernetes`, host names. Host names are looked up every five seconds.',
  ],
  deploy_branch: [branch, 'main', 'The name of the deploy branch: a push to this branch is deployed.'],
  licence_policy: [
    oneOf('ignore', 'warn', 'refuse'),
    'warn',
    'What the server does with a push whose commit has no licence file: `ignore` accepts the push, `warn` accepts it with a warning, `refuse` refuses it.',
  ],
  concurrent_deployments: [
    autoOrNumber(1, 64),
    'auto',
    'The maximum number of deployments that run at the same time, over all tools. `auto`: 3 if `builder` is `local`, 10 in a cluster. If the number is above 1, the last free place is kept for people who have no deployment running.',
  ],
  build_time: [seconds(1, 86_400), '900', 'The maximum time of one build, in seconds.'],
  build_processes: [
    wholeNumber(16, 32_768),
    '512',
    'The maximum number of processes and threads of one build, if builds run on this machine. In a cluster, the kubelet sets this limit (`podPidsLimit`).',
  ],
  build_memory: [mebibytes(64, 1_048_576), '4096', 'The maximum memory of one build, in MiB.'],
  build_disk: [mebibytes(16, 1_048_576), '4096', 'The maximum disk space of one build, in MiB.'],
  build_files: [
    wholeNumber(1000, 100_000_000),
    '500000',
    'The maximum number of files and folders of one build. The limit is never more than half of the inodes of the file system.',
  ],
  artifact_size: [
    mebibytes(1, 1_048_576),
    '2048',
    'The maximum size of the artifact that a build makes, in MiB.',
  ],
  build_output: [
    mebibytes(1, 4096),
    '100',
    'The maximum output of one build, in MiB. A build that prints more is ended.',
  ],
  pack_size: [mebibytes(1, 102_400), '512', 'The maximum size of one push, in MiB.'],
  push_refs: [wholeNumber(1, 10_000), '500', 'The maximum number of refs in one push.'],
  repository_size: [
    mebibytes(1, 1_048_576),
    '4096',
    'The maximum size of the repository of one tool, in MiB. Pushes to a larger repository are refused.',
  ],
  builds_a_day: [
    wholeNumber(1, 100_000),
    '200',
    'The maximum number of builds of one tool and its previews within 24 hours.',
  ],
  tree_files: [wholeNumber(1, 10_000_000), '50000', 'The maximum number of files in a commit.'],
  tree_bytes: [mebibytes(1, 102_400), '1024', 'The maximum size of all files of a commit, in MiB.'],
  health_time: [
    seconds(1, 3600),
    '120',
    'Seconds within which the web process of a new release must answer. A process that listens only on ports other than PORT has 15 seconds.',
  ],
  settle_time: [
    wholeNumber(0, 60_000),
    '2000',
    'Milliseconds that a process without a port must run before it counts as started.',
  ],
  release_time: [
    seconds(1, 86_400),
    '600',
    'The maximum time of a release command, and of a test command of app.json, in seconds.',
  ],
  schedule_time: [
    seconds(1, 604_800),
    '86400',
    'The maximum time of one run of a scheduled process, in seconds. `timeout` in toolforge.yaml can set less.',
  ],
  process_types: [
    wholeNumber(1, 1000),
    '20',
    'The maximum number of process types of one tool that run all the time, including `web`.',
  ],
  scheduled_processes: [wholeNumber(0, 1000), '50', 'The maximum number of scheduled processes of one tool.'],
  answer_time: [
    seconds(1, 86_400),
    '300',
    'Seconds within which a tool must begin to answer a web request, if tools run on this machine. Otherwise the client gets status 504. The default is long because queries of the wiki replicas can take minutes.',
  ],
  drain_time: [
    seconds(0, 3600),
    '10',
    'Seconds that running web requests have to finish before the old release is ended.',
  ],
  grace_time: [
    seconds(0, 3600),
    '15',
    'Seconds that a process has to end after SIGTERM before it gets SIGKILL.',
  ],
  run_processes: [
    wholeNumber(4, 32_768),
    '128',
    'The maximum number of system processes and threads of one process of a tool, if tools run on this machine. In a cluster, the kubelet sets this limit (`podPidsLimit`).',
  ],
  run_memory: [mebibytes(16, 1_048_576), '512', 'The maximum memory of one process of a tool, in MiB.'],
  run_disk: [
    mebibytes(0, 1_048_576),
    '2048',
    'The maximum disk space that one process of a tool may use in /tmp, /workspace and its home folder, in MiB, if tools run on this machine. 0: no limit.',
  ],
  run_files: [
    wholeNumber(0, 100_000_000),
    '50000',
    'The maximum number of files and folders of one process of a tool in /tmp, /workspace and its home folder, if tools run on this machine. 0: no limit. All processes of a tool together may use a quarter of the inodes of the file system.',
  ],
  replica_folder: [
    optionalFile,
    '',
    'Folder that has the file TOOL/replica.my.cnf of each tool, if tools run on this machine. The folder, its folders and the files should belong to root. A file that is a link or larger than 64 KiB is not read. Each process gets a copy in TOOL_DATA_DIR, and TOOL_REPLICA_USER and TOOL_REPLICA_PASSWORD with the user and password of the file. If empty, tools get none of these.',
  ],
  config_vars_folder: [
    optionalFile,
    '',
    'Folder that has a file TOOL.env with config vars of a tool, in the format of `config import`, if tools run on this machine. The server reads the file at each start of a release and at each `run`, and stores no value. A link is refused. A file is refused if other users have any right to it, or if its group may change it. The owner and the group are not checked. The folder must not be in the data folder. If empty, the server stores all config vars.',
  ],
  max_replicas: [
    wholeNumber(1, 1000),
    '4',
    'The maximum number of processes of one type of a tool, whether `scale` or a file of the tool sets the number.',
  ],
  previews: [wholeNumber(0, 1000), '3', 'The maximum number of previews of one tool. 0: no previews.'],
  preview_days: [
    wholeNumber(1, 3650),
    '7',
    'The server ends a preview this many days after the newest deployment of the preview.',
  ],
  preview_memory: [
    mebibytes(16, 1_048_576),
    '256',
    'The maximum memory of one process of a preview, in MiB. A value above `run_memory` counts as `run_memory`.',
  ],
  concurrent_one_offs: [
    wholeNumber(1, 1000),
    '2',
    'The maximum number of `run` and `exec` commands of one tool at the same time.',
  ],
  one_off_time: [seconds(1, 604_800), '3600', 'The maximum time of a `run` or `exec` command, in seconds.'],
  log_size: [
    mebibytes(1, 1024),
    '10',
    'The maximum size of a log file of one process of a tool, in MiB. The current and the previous file are kept, so the log can have twice this size.',
  ],
  keep_artifacts: [
    wholeNumber(1, 1000),
    '10',
    'The number of a tool’s newest released builds whose artifacts are kept for rollbacks. Config changes and rollbacks do not count, because they build nothing.',
  ],
  keep_history: [
    // The minimum is the number of deployment logs that are kept (`MAX_LOGS`), because a log whose deployment is no
    // longer in the store would never be deleted.
    wholeNumber(200, 100_000),
    '1000',
    'The server remembers this many of a tool’s newest deployments, and as many builds, releases, changes of config vars and scheduled runs. Always kept are the live release, builds that have an artifact, the newest release of each such artifact, the builds and releases of the last two days, and the deployments of all these.',
  ],
  log_days: [
    wholeNumber(0, 3650),
    '0',
    'The maximum number of days that logs of deployments and of processes are kept. A log of a process that prints all the time may have lines of twice this age, and the log of a build stays as long as its artifact. 0: only the number and size of logs are limited.',
  ],
  ssh_grace_time: [
    seconds(1, 600),
    '30',
    'Seconds within which an SSH client must log in after it connects.',
  ],
  ssh_startups: [
    wholeNumber(1, 10_000),
    '100',
    'The maximum number of SSH connections at the same step before the login, over all addresses. The steps are: nothing received, identification received, keys exchanged.',
  ],
  ssh_per_address: [
    wholeNumber(1, 10_000),
    '20',
    'The maximum number of SSH connections of one address (for IPv6, a /64 network) at the same step before the login. If there are more, the oldest connection is closed.',
  ],
  ssh_per_person: [
    wholeNumber(1, 10_000),
    '20',
    'The maximum number of SSH connections of one person after the login.',
  ],
  sandbox: [
    oneOf('auto', 'isolated', 'trusted'),
    'auto',
    '`isolated` needs bwrap and pasta. `trusted` runs tools without isolation, for one trusted user. `auto` isolates if the machine can.',
  ],
  sandbox_uid: [
    wholeNumber(1000, 4_000_000_000),
    '700000',
    'If the server runs as root or has subordinate ids (docs/service.md), the tool with the number N runs under this uid plus N. Subordinate ids have this uid only inside the server’s user namespace.',
  ],
  blocked_networks: [
    networks,
    '169.254.169.254/32 fd00:ec2::254/128',
    'Networks that isolated builds and tools cannot reach, in CIDR form. Keep the two default addresses, because clouds give out credentials of the machine there. Add other networks that only this machine may use. Isolated builds and tools can never reach the addresses of this machine itself.',
  ],
  build_environment: [
    variables,
    '',
    'Environment variables for every build and process, such as proxies, package indexes and certificate authorities: `NAME=value`, separated by spaces. If empty, variables of these kinds come from the server’s own environment.',
  ],
  colour: [
    flag,
    'true',
    'Whether the output of a push has colours. `-o no-color` switches them off for one push.',
  ],
} as const satisfies Record<string, Setting>;
