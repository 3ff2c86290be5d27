import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { DeployError } from '../../core/errors.ts';
import { CONFIG_VAR_NAME, RESERVED_VARIABLE } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import type { Replicas, RequiredVar } from '../../core/types.ts';
import { readPlainFile } from './safe-files.ts';
import { isMapping, shown } from './yaml/settings-file.ts';

const file = 'app.json';
const MAX_BYTES = 256 * 1024;
const MAX_QUANTITY = 1000;
const MAX_TYPES = 100;
const MAX_VARIABLES = 100;
/**
 * The most bytes of all names and values of `env` in app.json together, because the store keeps them with each release.
 */
const MAX_VARIABLE_BYTES = 32 * 1024;
/** The most characters of the `description` of a variable in `env`. A longer description is cut. */
const MAX_DESCRIPTION = 200;
const process = z.looseObject({ quantity: z.int().min(0).max(MAX_QUANTITY).default(1) });
const value = z
  .union([z.string(), z.number(), z.boolean()])
  .transform(String)
  .refine((text) => !text.includes('\0'));
const variable = z.union([
  value.transform((text) => ({ value: text, required: false, generator: null, description: null })),
  z.looseObject({
    value: value.nullish(),
    required: z.union([z.boolean(), z.stringbool()]).default(true),
    generator: z.literal('secret').nullish(),
    description: z.string().nullish().catch(null),
  }),
]);
/** Keys of app.json that only Heroku uses. They change nothing here. */
const withoutEffect = ['addons', 'buildpacks', 'image'];
const tests = z.looseObject({ test: z.looseObject({ scripts: z.looseObject({ test: z.string() }) }) });
const MAX_TEST_BYTES = 4096;

export interface AppJson {
  /** How many processes of each type run, as `formation` says. */
  readonly formation: Replicas;
  /** The values of `env`. If a config var of the same name is set, the config var is used instead. */
  readonly variables: Readonly<Record<string, string>>;
  /** The names of the config vars that are to be random secrets if they are not set. */
  readonly secrets: readonly string[];
  /** The config vars that must be set. */
  readonly required: readonly RequiredVar[];
  /** The command of `environments.test.scripts.test`. Null if there is none. */
  readonly test: string | null;
  /** Sentences about the parts of app.json that are not used. */
  readonly warnings: readonly string[];
}

/**
 * Reads Heroku's app.json. Other programs have files of this name too. So a file that is too large, is not valid JSON
 * or holds no object is no error.
 *
 * @throws DeployError `BUILD_APP_JSON` if `formation` or `env` cannot be used.
 * @see https://devcenter.heroku.com/articles/app-json-schema
 */
export async function readAppJson(source: string): Promise<AppJson> {
  const nothing = { formation: {}, variables: {}, secrets: [], required: [], test: null, warnings: [] };
  const text = await readPlainFile(source, [file], MAX_BYTES).catch((error: unknown) => {
    if (error instanceof RangeError) return '{}';
    throw error;
  });
  if (text === null) return nothing;
  let content: unknown;
  try {
    content = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    const [, line] = /line (\d+)/.exec(String(error)) ?? [];
    const where = line === undefined ? '' : ` (see line ${line})`;
    return { ...nothing, warnings: [`${file} is not used, because it is not valid JSON${where}.`] };
  }
  if (!isMapping(content)) return nothing;
  const wanted = entriesOf(content, 'formation');
  if (wanted.length > MAX_TYPES) {
    throw refusal(
      `formation in ${file} has ${wanted.length} process types, but at most ${MAX_TYPES} are allowed`,
      'Name only the process types that are kept running, and push again.',
    );
  }
  const formation = wanted.map(([type, given]) => [type, readProcess(type, given, text)] as const);
  const { env, unusable } = readEnv(content, text);
  const keys = new Set(formation.flatMap(([, one]) => Object.keys(one).filter((key) => key !== 'quantity')));
  const test = readTest(content, text);
  const unused = [
    ...(content['environments'] !== undefined && test === null ? ['environments'] : []),
    ...withoutEffect.filter((key) => content[key] !== undefined),
    ...entriesOf(content, 'scripts').map(([name]) => `scripts.${name}`),
    ...[...keys].map((key) => `${key} of formation`),
  ].slice(0, 10);
  const warnings = [
    ...(unused.length === 0
      ? []
      : [`${file}: ${unused.map(shown).join(', ')} ${unused.length === 1 ? 'has' : 'have'} no effect here.`]),
    ...(Object.hasOwn(Object(content['scripts']), 'postdeploy')
      ? ['To run a command before each release, write it as `release` into the Procfile.']
      : []),
    ...(unusable.length === 0
      ? []
      : [
          `${file}: ${unusable.slice(0, 10).map(shown).join(', ')} of env ${unusable.length === 1 ? 'is' : 'are'} not used. The name of a config var has capital letters, digits and _, and must not be one that the platform sets, such as PORT or PATH.`,
        ]),
  ];
  return {
    formation: Object.fromEntries(formation.map(([type, { quantity }]) => [type, quantity])),
    variables: Object.fromEntries(
      env.flatMap(([name, one]) => (one.value === null ? [] : [[name, one.value]])),
    ),
    secrets: env.flatMap(([name, one]) => (one.isSecret ? [name] : [])),
    required: env.flatMap(([name, one]) =>
      one.required && one.value === null && !one.isSecret ? [{ name, description: one.description }] : [],
    ),
    test,
    warnings,
  };
}

/**
 * Returns the test command. Null if app.json has none. @throws DeployError `BUILD_APP_JSON` if the command is too long
 * or has a NUL byte.
 */
function readTest(content: Readonly<Record<string, unknown>>, text: string): string | null {
  const { success, data } = tests.safeParse(content['environments']);
  const command = success ? data.test.scripts.test.trim() : '';
  if (command === '') return null;
  if (!command.includes('\0') && Buffer.byteLength(command) <= MAX_TEST_BYTES) return command;
  throw refusal(
    `environments.test.scripts.test in ${file} is longer than ${MAX_TEST_BYTES} bytes or has a NUL byte${lineOf(text, 'environments', 'test')}`,
    'Put the commands into a script, write the name of the script there, and push again.',
  );
}

/**
 * Returns a random value for each config var that app.json wants as a secret. Only the build sees these values; the
 * release gets others.
 */
export function buildSecrets({ secrets }: Pick<AppJson, 'secrets'>): Record<string, string> {
  return Object.fromEntries(secrets.map((name) => [name, randomBytes(32).toString('hex')]));
}

function readProcess(type: string, given: unknown, text: string): z.infer<typeof process> {
  const { success, data } = process.safeParse(given);
  if (success) return data;
  throw refusal(
    `formation in ${file} gives no number of processes for ${shown(type)}${lineOf(text, 'formation', type)}`,
    `Write \`"${shown(type)}": {"quantity": 1}\`, with a whole number from 0 to ${MAX_QUANTITY}, and push again.`,
  );
}

interface Variable {
  readonly value: string | null;
  readonly isSecret: boolean;
  readonly required: boolean;
  readonly description: string | null;
}

/**
 * Returns the variables of `env`. Leaves out variables whose names are not allowed for a config var. `unusable` has
 * these names.
 *
 * @throws DeployError `BUILD_APP_JSON` if a value cannot be used, if there are more than `MAX_VARIABLES` variables, or
 * if they have more than `MAX_VARIABLE_BYTES` together.
 */
function readEnv(
  content: Readonly<Record<string, unknown>>,
  text: string,
): { env: (readonly [string, Variable])[]; unusable: string[] } {
  const { usable = [], unusable = [] } = Object.groupBy(entriesOf(content, 'env'), ([name]) =>
    CONFIG_VAR_NAME.test(name) && !RESERVED_VARIABLE.test(name) ? 'usable' : 'unusable',
  );
  // Checked before the variables are read, because a file can have tens of thousands of them.
  if (usable.length > MAX_VARIABLES) throw tooMany();
  const env = usable.map(([name, given]) => {
    const { success, data } = variable.safeParse(given);
    if (!success || data.value?.includes('\0')) {
      throw refusal(
        `${shown(name)} below env in ${file} has a value that a config var cannot have${lineOf(text, 'env', name)}`,
        'Write `"API_KEY": {"value": "…"}`, with a text as the value, and push again.',
      );
    }
    const { value = null, required, generator } = data;
    const isSecret = generator === 'secret' && value === null;
    const description = oneLine(data.description ?? '').slice(0, MAX_DESCRIPTION) || null;
    return [name, { value, required, isSecret, description }] as const;
  });
  const bytes = env.reduce((sum, [name, one]) => sum + Buffer.byteLength(name + (one.value ?? '')), 0);
  if (bytes > MAX_VARIABLE_BYTES) throw tooMany();
  return { env, unusable: unusable.map(([name]) => name) };
}

function tooMany(): DeployError {
  return refusal(
    `env in ${file} has more than ${MAX_VARIABLES} config vars, or more than ${MAX_VARIABLE_BYTES / 1024} kB`,
    'Set large values with `config set`, and push again.',
  );
}

function entriesOf(content: Readonly<Record<string, unknown>>, key: string): [string, unknown][] {
  const given = content[key];
  return isMapping(given) ? Object.entries(given) : [];
}

function lineOf(text: string, section: string, key: string): string {
  const place = text.indexOf(JSON.stringify(key), text.indexOf(`"${section}"`));
  return place === -1 ? '' : ` (line ${text.slice(0, place).split('\n').length})`;
}

function refusal(message: string, hint: string): DeployError {
  return new DeployError('BUILD_APP_JSON', message, hint);
}
