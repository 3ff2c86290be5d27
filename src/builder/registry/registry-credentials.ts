import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { DeployError } from '../../core/errors.ts';

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/**
 * Finds the credentials for a registry by its host, as the names of images have it: `docker.io`, not `index.docker.io`.
 * Null if there are none for this host.
 */
export type FindCredentials = (host: string) => Promise<Credentials | null>;

const dockerConfig = z.object({
  auths: z
    .record(
      z.string(),
      z.object({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
      }),
    )
    .default({}),
});

/**
 * Reads credentials from a file in the format of `docker login` and of Secrets of type dockerconfigjson. Reads the file
 * again each time, because a mounted Secret can change while the server runs.
 *
 * @param path - Null if the registry needs no login.
 */
export function credentialsIn(path: string | null): FindCredentials {
  return async (host) => {
    if (path === null) return null;
    let config: z.output<typeof dockerConfig>;
    try {
      config = dockerConfig.parse(JSON.parse(await readFile(path, 'utf8')));
    } catch (cause) {
      throw new DeployError(
        'BAD_SETTING',
        'the file of the setting registry_credentials cannot be read, or is not a configuration file of docker',
        'Operators: write the file of registry_credentials with `docker login`, or mount the .dockerconfigjson of a Secret as this file.',
        { cause },
      );
    }
    for (const [key, entry] of Object.entries(config.auths)) {
      if (hostOf(key) === host) return decoded(entry);
    }
    return null;
  };
}

/** The text of a docker configuration file with one pair of credentials, for a Secret. */
export function dockerConfigJson(host: string, { user, password }: Credentials): string {
  const auth = Buffer.from(`${user}:${password}`).toString('base64');
  return JSON.stringify({ auths: { [host]: { auth } } });
}

/** The host of a key of `auths`. `docker login` stores docker.io under the key `https://index.docker.io/v1/`. */
function hostOf(key: string): string {
  const host = key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return host === 'index.docker.io' ? 'docker.io' : host;
}

function decoded(entry: z.output<typeof dockerConfig>['auths'][string]): Credentials | null {
  const { username, password } = entry;
  if (username !== undefined && password !== undefined) return { user: username, password };
  const pair = Buffer.from(entry.auth ?? '', 'base64').toString();
  const colon = pair.indexOf(':');
  return colon < 1 ? null : { user: pair.slice(0, colon), password: pair.slice(colon + 1) };
}
