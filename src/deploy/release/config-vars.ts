import { randomBytes } from 'node:crypto';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { changeConfigVars } from '../../core/variables/config-changes.ts';
import type { Store } from '../../store/store.ts';

/** How many releases are searched for an earlier secret. */
const MAX_SEARCHED = 100;
/**
 * How many bytes of config vars and commands the new releases of one tool may store in 24 hours. The store, the copies
 * of releases and each backup hold these bytes.
 */
const MAX_RELEASE_BYTES_A_DAY = 64 * 1024 * 1024;
const DAY_MS = 24 * 3600_000;

/**
 * Gives a secret to each config var of `names` that is neither in `vars` nor stored. The secret is the value in the
 * newest release that asks for the config var, even if that release failed or was rolled back. If that release has no
 * value, if no release asks for the config var, or if a maintainer has unset it, the secret is random.
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

/**
 * The value of `name` in the newest release that asks for this secret. Null if no release does, or if it has no value.
 */
function earlierSecret(store: Store, tool: ToolName, name: string): string | null {
  const last = store
    .releases(tool, MAX_SEARCHED)
    .find(({ artifact }) => artifact.secrets?.includes(name) === true);
  return last === undefined ? null : (store.release(tool, last.version)?.configVars[name] ?? null);
}

/**
 * Checks that a tool's releases have not stored too many bytes in the last 24 hours. The bytes are limited, because
 * each release stores its own copy of the config vars and commands.
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
