import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { DeployError } from './core/errors.ts';
import { settings } from './settings/table.ts';

type Settings = typeof settings;

/** Variables of the server's own environment that builds and tools get unless `build_environment` is set. */
const passedOn =
  /^(https?_proxy|no_proxy|ssl_cert_(file|dir)|node_extra_ca_certs|pip_cert|pip_index_url|pip_extra_index_url|uv_index_url|requests_ca_bundle|curl_ca_bundle|git_ssl_cainfo|npm_config_registry|goproxy)$/i;

/** All settings, read and checked. Times are milliseconds, sizes bytes. */
export type Config = { readonly [Name in keyof Settings]: z.output<Settings[Name][0]> };

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
      `The setting ${name} is ${JSON.stringify(given)}, but must be ${why}.`,
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
