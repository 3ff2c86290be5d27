import { readFileSync } from 'node:fs';
import { DeployError } from '../../../core/errors.ts';
import type { Log } from '../../../core/log/log.ts';
import { Harbor } from '../../registry/harbor.ts';
import { dockerConfigJson } from '../../registry/registry-credentials.ts';
import type { ToolRepositories } from '../job/build-names.ts';
import type { KubernetesBuilderConfig } from '../kubernetes-builder-config.ts';

/** How one build logs in to the registry. */
export interface BuildLogin extends AsyncDisposable {
  /**
   * The name of the Secret with the login. Null if the registry needs no login. Empty if the caller must make a Secret
   * from `dockerConfig`.
   */
  readonly secret: string | null;
  /** The docker configuration for the Secret that is made for this build. Null if no such Secret is made. */
  readonly dockerConfig: string | null;
  /** The id of the Harbor account that was made for this build alone. Null without Harbor. */
  readonly account: number | null;
}

type LoginConfig = Pick<
  KubernetesBuilderConfig,
  'registry_secret' | 'harbor_url' | 'harbor_user' | 'harbor_password_file' | 'harbor_project_size'
>;

/** Gives builds a registry login: an account of their own if Harbor is set up, otherwise the operator's Secret. */
export class RegistryLogin {
  readonly #config: LoginConfig;
  readonly #log: Log;

  constructor(config: LoginConfig, log: Log) {
    this.#config = config;
    this.#log = log;
  }

  /**
   * Returns the login for one build. If Harbor is set up, makes the tool's project (unless it exists) and an account
   * for the build. Dispose of the login when the build has ended.
   *
   * @throws DeployError `REGISTRY_FULL` if the project's quota has no room; `REGISTRY_UNAVAILABLE` if Harbor does not
   * answer; `REGISTRY_REFUSED` if Harbor refuses a request.
   */
  async open({ host, project }: ToolRepositories, build: string, signal: AbortSignal): Promise<BuildLogin> {
    const { registry_secret: secret, harbor_url: url } = this.#config;
    if (url === '') {
      const none = async () => {};
      return {
        secret: secret === '' ? null : secret,
        dockerConfig: null,
        account: null,
        [Symbol.asyncDispose]: none,
      };
    }
    const harbor = this.#harbor();
    const id = await harbor.ensureProject(project, signal);
    await harbor.assertRoom(project, id, signal);
    const robot = await harbor.makeRobot(project, build, signal);
    return {
      secret: '',
      dockerConfig: dockerConfigJson(host, robot),
      account: robot.id,
      [Symbol.asyncDispose]: () => this.#removeRobot(harbor, robot.id),
    };
  }

  /**
   * The login of a build that an earlier server started. Disposing of the login deletes the Harbor account with the id
   * `account`. If the build has no Harbor account (null), disposing does nothing.
   */
  known(account: number | null): AsyncDisposable {
    return {
      [Symbol.asyncDispose]: async () => {
        if (account !== null && this.#config.harbor_url !== '')
          await this.#removeRobot(this.#harbor(), account);
      },
    };
  }

  /**
   * Deletes the Harbor project of a tool that the server is deleting. Does nothing without Harbor, or if all tools
   * share one project.
   *
   * @throws DeployError `REGISTRY_UNAVAILABLE` if Harbor does not answer; `REGISTRY_REFUSED` if Harbor refuses a
   * request.
   */
  async removeProject({ project, image, cache }: ToolRepositories, signal: AbortSignal): Promise<void> {
    if (this.#config.harbor_url === '' || image !== `${project}/${project}`) return;
    await this.#harbor().removeProject(project, [image, cache], signal);
  }

  /**
   * Returns a client of Harbor. Reads Harbor's password from its file each time, because a mounted Secret may change.
   */
  #harbor(): Harbor {
    const { harbor_url: url, harbor_user: user, harbor_password_file: file } = this.#config;
    const password = file === null ? '' : (readFileSync(file, 'utf8').split('\n')[0] ?? '').trim();
    return new Harbor({
      url: url.replace(/\/$/, ''),
      credentials: { user, password },
      projectBytes: this.#config.harbor_project_size,
    });
  }

  async #removeRobot(harbor: Harbor, id: number): Promise<void> {
    try {
      await harbor.removeRobot(id, AbortSignal.timeout(30_000));
    } catch (error) {
      // Only log that the account cannot be deleted: the account expires within a day, so the build need not fail.
      if (!(error instanceof DeployError)) throw error;
      this.#log.warn({ err: error, robot: id }, 'cannot delete the registry account of a build');
    }
  }
}
