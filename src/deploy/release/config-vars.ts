import { randomBytes } from 'node:crypto';
import { DeployError } from '../../core/errors.ts';
import { CONFIG_VAR_NAME, MAX_CONFIG_VARS, RESERVED_VARIABLE, type ToolName } from '../../core/names.ts';
import { MAX_CONFIG_VAR_BYTES } from '../../core/types.ts';
import type { Store } from '../../store/store.ts';

/** How many releases are searched for an earlier secret. */
const MAX_SEARCHED = 100;
// The most bytes of the names and values of a tool's config vars together. Each release stores them twice, and a
// Kubernetes Secret holds at most 1 MiB.
const MAX_TOTAL_BYTES = 512 * 1024;
/**
 * How many bytes of config vars and commands the new releases of one tool may store in 24 hours. The store, the copies
 * of releases and each backup hold these bytes.
 */
const MAX_RELEASE_BYTES_A_DAY = 64 * 1024 * 1024;
const DAY_MS = 24 * 3600_000;
const ELSEWHERE = 'Keep large data in the repository or in a database.';

/**
 * Returns the tool's config vars after a change. The value null unsets a variable.
 *
 * @throws DeployError `BAD_CONFIG_VAR` if a name or value is not allowed, or if there are too many. The error never
 * contains a value.
 */
export function changeConfigVars(
  current: Readonly<Record<string, string>>,
  changes: Readonly<Record<string, string | null>>,
): Record<string, string> {
  const vars = new Map(Object.entries(current));
  // Before the checks, because a request can have hundreds of thousands of names.
  if (Object.values(changes).filter((value) => value !== null).length > MAX_CONFIG_VARS) throw tooMany();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) {
      vars.delete(name);
      continue;
    }
    check(name, value);
    vars.set(name, value);
  }
  if (vars.size > MAX_CONFIG_VARS) throw tooMany();
  const bytes = Buffer.byteLength([...vars].flat().join(''));
  if (bytes > MAX_TOTAL_BYTES) {
    throw bad(`the config vars together are longer than ${MAX_TOTAL_BYTES} bytes`, ELSEWHERE);
  }
  return Object.fromEntries([...vars].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function tooMany(): DeployError {
  return bad(`more than ${MAX_CONFIG_VARS} config vars`, 'Unset config vars that the tool does not use.');
}

/**
 * Gives a secret to each config var of `names` that has no value. This is the secret in the newest release that asks for the
 * config var, even if that release failed or was rolled back. If that release has no value for the config var, or if no
 * release asks for it, the secret is random.
 *
 * @returns `vars` with the secrets, and the names of the random ones.
 */
export function withSecrets(
  store: Store,
  tool: ToolName,
  vars: Readonly<Record<string, string>>,
  names: readonly string[],
): { readonly vars: Readonly<Record<string, string>>; readonly made: readonly string[] } {
  // A config var that is stored but missing in `vars` is unset by this deployment, so it gets no secret.
  const isSet = { ...store.configVars(tool), ...vars };
  const missing = names.filter((name) => !Object.hasOwn(isSet, name));
  if (missing.length === 0) return { vars, made: [] };
  const { liveVersion } = store.tool(tool);
  const live = liveVersion === null ? {} : (store.release(tool, liveVersion)?.configVars ?? {});
  // A config var of the live release that is not stored was unset by `config unset --no-restart`, so its old value must
  // not come back.
  const earlier = missing.map(
    (name) => [name, Object.hasOwn(live, name) ? null : earlierSecret(store, tool, name)] as const,
  );
  const secrets = earlier.map(([name, value]) => [name, value ?? randomBytes(32).toString('hex')]);
  const made = earlier.flatMap(([name, value]) => (value === null ? [name] : []));
  return { vars: changeConfigVars(vars, Object.fromEntries(secrets)), made };
}

/** The secret in the newest release that asks for it. Null if no release does, or if that release has none. */
function earlierSecret(store: Store, tool: ToolName, name: string): string | null {
  const last = store
    .releases(tool, MAX_SEARCHED)
    .find(({ artifact }) => artifact.secrets?.includes(name) === true);
  return last === undefined ? null : (store.release(tool, last.version)?.configVars[name] ?? null);
}

function check(name: string, value: string): void {
  if (!CONFIG_VAR_NAME.test(name)) {
    throw bad(
      `${JSON.stringify(name.slice(0, 60))} is not a valid name for a config var`,
      'Use capital letters, digits and _, as in API_KEY.',
    );
  }
  if (RESERVED_VARIABLE.test(name)) throw bad(`${name} is reserved for the platform`, 'Choose another name.');
  if (!value.isWellFormed())
    throw bad(
      `the value of ${name} is not valid Unicode text`,
      'Encode binary values, for instance as Base64.',
    );
  if (value.includes('\0'))
    throw bad(`the value of ${name} holds a NUL byte`, 'Encode binary values, for instance as Base64.');
  if (Buffer.byteLength(value) > MAX_CONFIG_VAR_BYTES) {
    throw bad(`the value of ${name} is longer than ${MAX_CONFIG_VAR_BYTES} bytes`, ELSEWHERE);
  }
}

function bad(message: string, hint: string): DeployError {
  return new DeployError('BAD_CONFIG_VAR', message, hint);
}

/**
 * Checks that a tool's releases have not stored too many bytes in the last 24 hours. The bytes are limited, because each
 * release keeps its own config vars and commands for ever.
 *
 * @throws DeployError `RELEASE_LIMIT`
 */
export function assertReleaseRoom(store: Store, tool: ToolName): void {
  const now = Date.now();
  if (store.releaseBytes(tool, now - DAY_MS, now) < MAX_RELEASE_BYTES_A_DAY) return;
  throw new DeployError(
    'RELEASE_LIMIT',
    `the releases of ${tool} have stored ${MAX_RELEASE_BYTES_A_DAY / 1024 / 1024} MiB of config vars and commands in 24 hours, and more is not allowed`,
    'Deploy again tomorrow. Make the config vars smaller, or change several of them with one command.',
  );
}
