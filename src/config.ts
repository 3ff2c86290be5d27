import { readFileSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { DeployError } from './core/errors.ts';

const packageFolder = resolve(import.meta.dirname, '..');

const folder = z
  .string()
  .min(1)
  .transform((path) => resolve(path));
const optionalFile = z.string().transform((path) => (path === '' ? null : resolve(path)));
const wholeNumber = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const seconds = (min: number, max: number) => wholeNumber(min, max).transform((value) => value * 1000);
const mebibytes = (min: number, max: number) =>
  wholeNumber(min, max).transform((value) => value * 1024 * 1024);
const list = z.union([
  z.string().transform((text) => text.split(/[\s,]+/).filter((item) => item !== '')),
  z.array(z.string()),
]);
const hostPort = z.string().transform((text, context) => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    context.addIssue({ code: 'custom', message: 'is host:port, as 127.0.0.1:8080 or [::1]:8080' });
    return z.NEVER;
  }
  return { host: match[1] ?? match[2] ?? '', port };
});
const flag = z.union([z.boolean(), z.stringbool()]);

/** Where the data goes unless told otherwise: the usual place of the system (FHS, XDG Base Directory). */
function defaultDataFolder(): string {
  return userInfo().uid === 0 ? '/var/lib/toolforge-push' : join(homedir(), '.local/share/toolforge-push');
}

/**
 * Every setting: its name in the YAML file, its default as it would be written there, how it is read, and
 * what it is for. The environment name is `TOOLFORGE_PUSH_` and the name in upper case.
 */
export const settings = {
  data: [
    folder,
    defaultDataFolder(),
    'Folder for repositories, artifacts, logs and the store. Not on a network filesystem.',
  ],
  keys: [folder, join(packageFolder, 'keys'), 'Folder for the SSH host keys and the secrets key.'],
  buildpacks: [folder, join(packageFolder, 'buildpacks'), 'Folder of buildpacks, with their order.toml.'],
  ssh: [hostPort, '127.0.0.1:2222', 'Where the SSH door listens; port 0 takes a free one.'],
  http: [hostPort, '127.0.0.1:8080', 'Where the HTTP door and the tools’ web addresses listen.'],
  public_ssh: [z.string(), '', 'How people reach the SSH door, `host:port`; empty: as it listens.'],
  public_url: [
    z.string(),
    '',
    'How people reach the HTTP door, `https://push.example.org`; empty: as it listens.',
  ],
  domain: [z.string().min(1), 'localhost', 'A tool answers at `TOOL.DOMAIN`.'],
  log_level: [z.enum(['debug', 'info', 'warn', 'error']), 'info', 'The least severe log lines to print.'],
  tls_certificate: [optionalFile, '', 'PEM file; with `tls_key` the HTTP door speaks TLS.'],
  tls_key: [optionalFile, '', 'PEM file of the certificate’s key.'],
  trusted_proxies: [
    list,
    '',
    'Addresses or CIDR ranges of reverse proxies that end TLS and set X-Forwarded-Proto and X-Forwarded-For.',
  ],
  deploy_branch: [
    z.string().regex(/^[A-Za-z0-9][-A-Za-z0-9._/]{0,99}$/),
    'main',
    'The branch that is what is live.',
  ],
  licence_policy: [z.enum(['ignore', 'warn', 'refuse']), 'warn', 'What a push without a licence file gets.'],
  concurrent_deployments: [wholeNumber(1, 64), '2', 'Deployments at once, over all tools.'],
  build_time: [seconds(1, 86_400), '900', 'Seconds that one build may take.'],
  build_processes: [wholeNumber(16, 32_768), '512', 'Processes and threads of one build.'],
  build_memory: [mebibytes(64, 1_048_576), '4096', 'MiB of memory for one build.'],
  build_disk: [mebibytes(16, 1_048_576), '4096', 'MiB of disk for one build.'],
  build_output: [mebibytes(1, 4096), '100', 'MiB of output of one build; more ends it.'],
  pack_size: [mebibytes(1, 102_400), '512', 'MiB of one push.'],
  tree_files: [wholeNumber(1, 10_000_000), '50000', 'Files in a commit.'],
  tree_bytes: [mebibytes(1, 102_400), '1024', 'MiB of a commit, unpacked.'],
  health_time: [seconds(1, 3600), '120', 'Seconds that a new release has to become healthy.'],
  settle_time: [
    wholeNumber(0, 60_000),
    '2000',
    'Milliseconds that a process without a port must stay up to count as started.',
  ],
  drain_time: [
    seconds(0, 3600),
    '10',
    'Seconds that requests under way have before the old release is ended.',
  ],
  grace_time: [seconds(0, 3600), '15', 'Seconds between SIGTERM and SIGKILL.'],
  run_processes: [wholeNumber(4, 32_768), '128', 'Processes and threads of one process of a tool.'],
  run_memory: [mebibytes(16, 1_048_576), '512', 'MiB of memory for one process of a tool.'],
  log_size: [
    mebibytes(1, 1024),
    '10',
    'MiB of output kept for one process of a tool, twice: the current file and the one before.',
  ],
  keep_artifacts: [
    wholeNumber(1, 1000),
    '10',
    'Newest releases of a tool whose artifacts are kept for rollback.',
  ],
  ssh_grace_time: [seconds(1, 600), '30', 'Seconds from connection to login.'],
  ssh_startups: [wholeNumber(1, 10_000), '100', 'Connections that have not logged in, at once.'],
  ssh_per_address: [wholeNumber(1, 10_000), '20', 'Connections of one address, at once.'],
  sandbox: [
    z.enum(['auto', 'isolated', 'trusted']),
    'auto',
    '`isolated` needs bwrap and pasta; `trusted` runs tools without isolation, for one trusted user; `auto` takes what is there.',
  ],
  sandbox_uid: [
    wholeNumber(1000, 4_000_000_000),
    '700000',
    'Where the server is root: the tool with number N runs under this uid plus N.',
  ],
  build_environment: [
    z.union([z.string().transform(pairs), z.record(z.string(), z.string())]),
    '',
    'Variables for every build and process: proxies, package indexes, certificate authorities. `NAME=value`, separated by spaces. Empty: the proxy, certificate and package index variables of the server’s own environment.',
  ],
  colour: [flag, 'true', 'Colours in the push output; `-o no-color` switches them off for one push.'],
} as const satisfies Record<string, readonly [z.ZodType, string, string]>;

type Settings = typeof settings;

/** Variables of the server's own environment that builds and tools get unless `build_environment` is set. */
const passedOn =
  /^(https?_proxy|no_proxy|ssl_cert_(file|dir)|node_extra_ca_certs|pip_cert|pip_index_url|pip_extra_index_url|uv_index_url|requests_ca_bundle|curl_ca_bundle|git_ssl_cainfo|npm_config_registry|goproxy)$/i;

/** All settings, read and checked. Times are milliseconds, sizes bytes. */
export type Config = { readonly [Name in keyof Settings]: z.output<Settings[Name][0]> };

function pairs(text: string): Record<string, string> {
  const items = text.split(/\s+/).filter((item) => item.includes('='));
  return Object.fromEntries(
    items.map((item) => [item.slice(0, item.indexOf('=')), item.slice(item.indexOf('=') + 1)]),
  );
}

/** The name of a setting in the environment. */
export function environmentName(setting: string): string {
  return `TOOLFORGE_PUSH_${setting.toUpperCase()}`;
}

/**
 * The settings from the environment, then the file that TOOLFORGE_PUSH_CONFIG names, then the defaults.
 *
 * @throws DeployError `BAD_SETTING` that names the setting, what it was and what it may be.
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const file = readFile(environment['TOOLFORGE_PUSH_CONFIG']);
  const inherited = Object.fromEntries(Object.entries(environment).filter(([name]) => passedOn.test(name)));
  const unknown = Object.keys(file).find((name) => !(name in settings));
  if (unknown !== undefined) {
    throw new DeployError(
      'BAD_SETTING',
      `There is no setting ${unknown}.`,
      `The settings are: ${Object.keys(settings).join(', ')}.`,
    );
  }
  const entries = Object.entries(settings).map(([name, [schema, byDefault]]) => {
    const given =
      environment[environmentName(name)] ??
      file[name] ??
      (name === 'build_environment' ? inherited : byDefault);
    const value = schema.safeParse(given);
    if (value.success) return [name, value.data];
    const why = value.error.issues.map((issue) => issue.message).join('; ');
    throw new DeployError(
      'BAD_SETTING',
      `The setting ${name} is ${JSON.stringify(given)}: ${why}.`,
      `Mend it in the configuration file or in ${environmentName(name)}.`,
    );
  });
  return Object.freeze(Object.fromEntries(entries)) as Config;
}

/** Names that look like settings and are none: a slip of the pen, or what Kubernetes sets for a service of this name. */
export function unknownSettings(environment: NodeJS.ProcessEnv): string[] {
  const known = new Set([...Object.keys(settings).map(environmentName), 'TOOLFORGE_PUSH_CONFIG']);
  return Object.keys(environment).filter((name) => name.startsWith('TOOLFORGE_PUSH_') && !known.has(name));
}

function readFile(path: string | undefined): Record<string, unknown> {
  if (path === undefined || path === '') return {};
  try {
    return z.record(z.string(), z.unknown()).parse(parseYaml(readFileSync(path, 'utf8')) ?? {});
  } catch (cause) {
    throw new DeployError(
      'BAD_SETTING',
      `The configuration file ${path} cannot be read as YAML settings.`,
      'Check the path in TOOLFORGE_PUSH_CONFIG and the file’s syntax: one `name: value` a line.',
      { cause },
    );
  }
}
