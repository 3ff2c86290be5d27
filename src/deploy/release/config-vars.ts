import { randomBytes } from 'node:crypto';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { changeConfigVars } from '../../core/variables/config-changes.ts';
import type { Store } from '../../store/store.ts';

/**
 * How many of a tool's newest releases are searched for earlier secrets. The search reads `PIECE` releases at a time,
 * because each release can have 500 kB.
 */
const MAX_SEARCHED = 100;
const PIECE = 5;
/**
 * How many bytes of config vars and commands the new releases of one tool may store in 24 hours. The store, the copies
 * of releases and each backup hold these bytes.
 */
const MAX_RELEASE_BYTES_A_DAY = 64 * 1024 * 1024;
const DAY_MS = 24 * 3600_000;

/**
 * Gives a secret to each config var of `names` that is neither in `vars` nor stored. The secret is the value in the
 * newest release that asks for the config var, even if that release failed or was rolled back. If that release has no
 * value, if none of the newest `MAX_SEARCHED` releases asks for the config var, or if a maintainer has unset it, the
 * secret is random.
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
  // If the live release has a config var that is not stored, `config unset --no-restart` has unset it. So leave out
  // such config vars here: their old values must not come back.
  const searched = earlierSecrets(
    store,
    tool,
    missing.filter((name) => !Object.hasOwn(live, name)),
  );
  const earlier = missing.map((name) => [name, searched.get(name) ?? null] as const);
  const secrets = earlier.map(([name, value]) => [name, value ?? randomBytes(32).toString('hex')]);
  const made = earlier.flatMap(([name, value]) => (value === null ? [name] : []));
  return { vars: changeConfigVars(vars, Object.fromEntries(secrets)), made };
}

/**
 * Returns for each of `names` the value in the newest release that asks for this secret. Searches only the newest
 * `MAX_SEARCHED` releases. Leaves out a name if none of them asks for it, or if the newest one that does has no value.
 * Reads each release once for all names, because a release can ask for a hundred secrets.
 */
function earlierSecrets(store: Store, tool: ToolName, names: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const left = new Set(names);
  let before = Number.MAX_SAFE_INTEGER;
  for (let count = 0; count < MAX_SEARCHED && left.size > 0; count += PIECE) {
    const piece = store.releases(tool, PIECE, before);
    for (const { version, artifact } of piece) {
      const asked = (artifact.secrets ?? []).filter((name) => left.has(name));
      const vars = asked.length === 0 ? {} : (store.release(tool, version)?.configVars ?? {});
      for (const name of asked) {
        left.delete(name);
        if (vars[name] !== undefined) found.set(name, vars[name]);
      }
    }
    if (piece.length < PIECE) break;
    before = piece.at(-1)?.version ?? 0;
  }
  return found;
}

/**
 * Checks that the releases of a tool and of its previews have not stored too many bytes in the last 24 hours. The bytes
 * are limited, because each release stores its own copy of the config vars and commands.
 *
 * @throws DeployError `RELEASE_LIMIT` if they have stored `MAX_RELEASE_BYTES_A_DAY` or more.
 */
export function assertReleaseRoom(store: Store, tool: ToolName): void {
  const now = Date.now();
  if (store.releaseBytes(tool, now - DAY_MS, now) < MAX_RELEASE_BYTES_A_DAY) return;
  throw new DeployError(
    'RELEASE_LIMIT',
    `the releases of ${store.previewOf(tool) ?? tool} and of its previews have stored ${MAX_RELEASE_BYTES_A_DAY / 1024 / 1024} MiB of config vars and commands in 24 hours, and more is not allowed`,
    'Deploy again tomorrow. Make the config vars smaller, or change several of them with one command.',
  );
}
