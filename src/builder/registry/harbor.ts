import { z } from 'zod';
import { DeployError, systemCode } from '../../core/errors.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import type { Credentials } from './registry-credentials.ts';

export interface HarborOptions {
  /** The address of Harbor without a slash at the end, such as `https://harbor.example.org`. */
  readonly url: string;
  readonly credentials: Credentials;
  /** The quota of a new project in bytes; -1 for no limit. */
  readonly projectBytes: number;
  /** How many milliseconds Harbor has for one answer. Default 30,000. */
  readonly timeoutMs?: number;
}

/** An account that may only push images to one project, pull images from it and list its repositories. */
export interface HarborRobot extends Credentials {
  readonly id: number;
}

const project = z.object({ project_id: z.number() });
const quotas = z.array(
  z.object({ hard: z.object({ storage: z.number() }), used: z.object({ storage: z.number() }) }),
);
const robot = z.object({ id: z.number(), name: z.string(), secret: z.string() });

/** If fewer bytes than this are free in a project's quota, the server starts no build: its image would hardly fit. */
const leastFreeBytes = 32 * 1024 * 1024;

/**
 * What Harbor can do and other registries cannot: have a project with a quota for each tool, and make an account for
 * each build.
 *
 * @see https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml
 */
export class Harbor {
  readonly #options: HarborOptions;

  constructor(options: HarborOptions) {
    this.#options = options;
  }

  /**
   * Makes the project if it does not exist. A new project is public, like Toolforge's projects.
   *
   * @returns the id of the project.
   */
  async ensureProject(name: string, signal: AbortSignal): Promise<number> {
    const known = await this.#projectId(name, signal);
    if (known !== null) return known;
    const made = await this.#send('POST', '/projects', signal, {
      project_name: name,
      metadata: { public: 'true' },
      storage_limit: this.#options.projectBytes,
    });
    // 409 means that the project exists, because another server or an operator made it at the same moment.
    if (made.status !== 201 && made.status !== 409)
      throw await this.#unexpected(`make the project ${name}`, made);
    await made.body?.cancel();
    const id = await this.#projectId(name, signal);
    if (id === null) throw await this.#unexpected(`find the project ${name}`, made);
    return id;
  }

  /**
   * Checks the quota of the project before a build, if this server's Harbor account may read quotas.
   *
   * @throws DeployError `REGISTRY_FULL`, with the used and the allowed size, if less than 32 MiB are free.
   */
  async assertRoom(name: string, projectId: number, signal: AbortSignal): Promise<void> {
    const answer = await this.#send('GET', `/quotas?reference=project&reference_id=${projectId}`, signal);
    // Reading quotas needs a right of its own. If this server lacks the right, the build begins, and the registry
    // refuses an image that does not fit.
    if (answer.status === 403) return void (await answer.body?.cancel());
    if (!answer.ok) throw await this.#unexpected(`read the quota of the project ${name}`, answer);
    const [quota] = quotas.parse(await answer.json());
    if (quota === undefined || quota.hard.storage < 0) return;
    const free = quota.hard.storage - quota.used.storage;
    if (free < leastFreeBytes) throw registryFull(name, quota.used.storage, quota.hard.storage);
  }

  /**
   * Makes a Harbor account for one build. For one day, the account may pull from and push to a Harbor project.
   *
   * @param name - The name of the Harbor project.
   */
  async makeRobot(name: string, build: string, signal: AbortSignal): Promise<HarborRobot> {
    const answer = await this.#send('POST', '/robots', signal, {
      name: `build-${build}`,
      description: `Build ${build}; removed when it ends`,
      level: 'project',
      duration: 1,
      disable: false,
      permissions: [
        {
          kind: 'project',
          namespace: name,
          access: ['push', 'pull', 'list'].map((action) => ({ resource: 'repository', action })),
        },
      ],
    });
    if (answer.status !== 201)
      throw await this.#unexpected(`make an account for the project ${name}`, answer);
    const { id, name: user, secret } = robot.parse(await answer.json());
    return { id, user, password: secret };
  }

  async removeRobot(id: number, signal: AbortSignal): Promise<void> {
    const answer = await this.#send('DELETE', `/robots/${id}`, signal);
    if (!answer.ok && answer.status !== 404) throw await this.#unexpected('remove an account', answer);
    await answer.body?.cancel();
  }

  /**
   * Deletes a project, and its repositories first, because Harbor deletes only empty projects. Does nothing if the
   * project does not exist.
   *
   * @param repositories - The full names of the repositories, such as `tool-x/cache`.
   */
  async removeProject(name: string, repositories: readonly string[], signal: AbortSignal): Promise<void> {
    const project = `/projects/${encodeURIComponent(name)}`;
    const places = repositories.map((one) => one.slice(name.length + 1));
    const paths = places.map((one) => `${project}/repositories/${encodeURIComponent(one)}`);
    for (const path of [...paths, project]) {
      const answer = await this.#send('DELETE', path, signal);
      if (!answer.ok && answer.status !== 404)
        throw await this.#unexpected(`delete the project ${name}`, answer);
      await answer.body?.cancel();
    }
  }

  async #projectId(name: string, signal: AbortSignal): Promise<number | null> {
    const answer = await this.#send('GET', `/projects/${encodeURIComponent(name)}`, signal);
    // To an account that is no administrator, Harbor also answers 403 if the project does not exist.
    if (answer.status === 404 || answer.status === 403) {
      await answer.body?.cancel();
      return null;
    }
    if (!answer.ok) throw await this.#unexpected(`find the project ${name}`, answer);
    return project.parse(await answer.json()).project_id;
  }

  async #send(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    body?: unknown,
  ): Promise<Response> {
    const { url, credentials, timeoutMs } = this.#options;
    const pair = Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64');
    try {
      return await fetch(`${url}/api/v2.0${path}`, {
        method,
        headers: {
          Authorization: `Basic ${pair}`,
          // Tells Harbor that the path has the name of a project and not its id, because a name can look like a number.
          'X-Is-Resource-Name': 'true',
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs ?? 30_000)]),
      });
    } catch (cause) {
      signal.throwIfAborted();
      const why = (cause instanceof Error ? systemCode(cause.cause) : null) ?? 'no answer in time';
      throw new DeployError(
        'REGISTRY_UNAVAILABLE',
        `Harbor at ${url} cannot be used at the moment: ${why}`,
        'This is not your tool’s fault: push again in some minutes. If it still fails, tell the operator.',
        { cause },
      );
    }
  }

  async #unexpected(action: string, answer: Response): Promise<DeployError> {
    const cause = new Error(`Harbor answered ${answer.status}: ${(await reason(answer)).slice(0, 500)}`);
    return new DeployError(
      answer.status >= 500 ? 'REGISTRY_UNAVAILABLE' : 'REGISTRY_REFUSED',
      `Harbor at ${this.#options.url} did not let this server ${action} (${answer.status})`,
      'This is not your tool’s fault. Operators: check the account of the setting harbor_user, its password and its rights.',
      { cause },
    );
  }
}

/** The error of a build if the quota of its Harbor project has too little room left. */
export function registryFull(name: string, usedBytes: number, limitBytes: number): DeployError {
  return new DeployError(
    'REGISTRY_FULL',
    `the images of the Harbor project ${name} take ${mebibytes(usedBytes)} of their quota of ${mebibytes(limitBytes)}, which leaves too little for another build`,
    'Make the tool smaller (a .slugignore leaves files of the repository out), or ask the operator to raise the quota or to delete old images.',
  );
}

async function reason(answer: Response): Promise<string> {
  return answer.bodyUsed ? '' : await answer.text().catch(() => '');
}
