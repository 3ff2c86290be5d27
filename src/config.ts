import { readFileSync } from 'node:fs';
import { type Document, parseDocument } from 'yaml';
import { z } from 'zod';
import { DeployError, systemCode } from './core/errors.ts';
import { nearest } from './core/text/nearest-names.ts';
import { settings } from './settings/settings-table.ts';

type Settings = typeof settings;

/**
 * Matches the variables of the server's own environment that builds and tools get unless `build_environment` is set.
 */
const passedOn =
  /^(https?_proxy|no_proxy|ssl_cert_(file|dir)|node_extra_ca_certs|pip_cert|pip_index_url|pip_extra_index_url|pip_trusted_host|uv_(default_index|index|index_url|extra_index_url|insecure_host|python_install_mirror|python_downloads_json_url)|requests_ca_bundle|curl_ca_bundle|git_ssl_cainfo|npm_config_registry|goproxy)$/i;

/** All settings, read and checked. Times are milliseconds, sizes bytes. */
export type Config = { readonly [Name in keyof Settings]: z.output<Settings[Name][0]> };

/** The name of a setting in the environment. */
export function environmentName(setting: string): string {
  return `TOOLFORGE_PUSH_${setting.toUpperCase()}`;
}

/**
 * Reads each setting from the environment. If the environment lacks a setting, the value comes from the file that
 * TOOLFORGE_PUSH_CONFIG names. If the file lacks the setting too, the setting has its default.
 *
 * @throws DeployError `BAD_SETTING`, which names the setting, its value and the allowed values.
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const file = readFile(environment['TOOLFORGE_PUSH_CONFIG']);
  const inherited = Object.fromEntries(Object.entries(environment).filter(([name]) => passedOn.test(name)));
  const unknown = Object.keys(file).find((name) => !Object.hasOwn(settings, name));
  if (unknown !== undefined) {
    const meant = nearest(Object.keys(settings), unknown);
    throw new DeployError(
      'BAD_SETTING',
      `there is no setting ${unknown}`,
      meant.length === 0
        ? 'docs/configuration.md lists all settings.'
        : `Did you mean ${meant.join(' or ')}?`,
    );
  }
  const entries = Object.entries(settings).map(([name, [schema, byDefault]]) => {
    const set = environment[environmentName(name)] ?? file[name] ?? byDefault;
    const given = name === 'build_environment' && set === '' ? inherited : set;
    const value = schema.safeParse(given);
    if (value.success) return [name, value.data];
    const why = value.error.issues.map((issue) => issue.message).join('; ');
    throw new DeployError(
      'BAD_SETTING',
      `the setting ${name} is ${JSON.stringify(given)}, but must be ${why}`,
      `Correct the setting in the configuration file or in the variable ${environmentName(name)}.`,
    );
  });
  return Object.freeze(Object.fromEntries(entries)) as Config;
}

/**
 * Lists the names in the environment that look like settings but are unknown, each with the most similar setting, if
 * one is similar. Such a name is a typing error, or a variable that Kubernetes sets for a Service named toolforge-push.
 */
export function unknownSettings(environment: NodeJS.ProcessEnv): string[] {
  const known = [...Object.keys(settings).map(environmentName), 'TOOLFORGE_PUSH_CONFIG'];
  const unknown = Object.keys(environment).filter(
    (name) => name.startsWith('TOOLFORGE_PUSH_') && !known.includes(name),
  );
  return unknown.map((name) => {
    const [meant] = nearest(Object.keys(settings), name.slice('TOOLFORGE_PUSH_'.length).toLowerCase());
    return meant === undefined ? name : `${name} (meant: ${environmentName(meant)}?)`;
  });
}

function readFile(path: string | undefined): Record<string, unknown> {
  if (path === undefined || path === '') return {};
  const document = parseDocument(textOf(path));
  const [wrong] = document.errors;
  if (wrong !== undefined) {
    const line = wrong.linePos?.[0].line;
    throw badFile(
      path,
      `is not YAML${line === undefined ? '' : ` in line ${line}`}`,
      `Correct this error: ${firstLine(wrong.message)}`,
    );
  }
  const file = z.record(z.string(), z.unknown()).safeParse(contentOf(document, path) ?? {});
  if (file.success) return file.data;
  throw badFile(path, 'has no settings', 'Write each setting as `name: value`, one per line.');
}

/**
 * The YAML file as plain values. Refuses an alias `*name` without its anchor `&name`. The parser alone accepts such an
 * alias.
 */
function contentOf(document: Document, path: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    if (!(cause instanceof ReferenceError)) throw cause;
    throw badFile(path, 'is not YAML', `Correct this error: ${firstLine(cause.message)}`, cause);
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = systemCode(cause);
    if (code === null) throw cause;
    throw badFile(
      path,
      code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`,
      'Check the path in TOOLFORGE_PUSH_CONFIG.',
      cause,
    );
  }
}

function badFile(path: string, problem: string, hint: string, cause?: unknown): DeployError {
  return new DeployError('BAD_SETTING', `the configuration file ${path} ${problem}`, hint, { cause });
}

/** The first line of a YAML parser's message. The other lines quote the file, so they are left out. */
function firstLine(message: string): string {
  return message.split('\n')[0]?.replace(/:$/, '') ?? '';
}
