import { LoginThrottle } from './auth/login-throttle.ts';
import type { Services } from './cli/command.ts';
import { serveControl } from './cli/control/control-protocol.ts';
import { runCommand } from './cli/run-command.ts';
import type { Config } from './config.ts';
import { Followers } from './core/fair-share/followers.ts';
import type { Log } from './core/log/log.ts';
import type { Addresses, ServerAddresses } from './core/network/addresses.ts';
import type { Principal } from './core/types.ts';
import type { Deployments } from './deploy/deployments.ts';
import type { GitPackServices } from './git/git-pack-services.ts';
import { createHttpDoor } from './http/http-door.ts';
import { createSourceListener } from './http/sources/source-listener.ts';
import { type LocalConnection, LocalSocket } from './local-socket/local-socket.ts';
import { serveHook } from './local-socket/serve-hook.ts';
import { ServerHealth } from './server-health.ts';
import { type ServerState, socketPathOf } from './server-state.ts';
import { createSshDoor } from './ssh/ssh-door.ts';

/** What the doors serve. */
export interface Served {
  readonly state: ServerState;
  readonly line: Deployments;
  readonly packServices: GitPackServices;
  readonly addresses: Addresses;
}

const operator: Principal = {
  uid: 'operator',
  door: 'local',
  credential: 'local',
  address: '',
  onlyTool: null,
  scope: 'manage',
  isOperator: true,
};

/** The ways into the server: SSH, HTTP, the sources for builds in a cluster, and the socket in the data folder. */
export class ServerDoors {
  readonly #health: ServerHealth;
  readonly #socket: LocalSocket;
  readonly #ssh: ReturnType<typeof createSshDoor>;
  readonly #http: ReturnType<typeof createHttpDoor>;
  readonly #sources: ReturnType<typeof createSourceListener>;

  constructor({ config, log }: { readonly config: Config; readonly log: Log }, served: Served) {
    const { state, line, packServices, addresses } = served;
    const { directory, store, tokens, audit, room, hostKeys } = state;
    const { runtime, sources } = state.backEnds;
    const services: Services = {
      ...{ directory, runtime, store, tokens, audit, addresses, room },
      deployments: line,
      followers: new Followers(),
    };
    const throttle = new LoginThrottle();
    const shared = { config, directory, packServices, runCommand, services, throttle, log };
    this.#health = new ServerHealth({ room, store, log });
    this.#socket = new LocalSocket({
      path: socketPathOf(config),
      log,
      serve: (connection) => serveLocal(connection, packServices, services),
    });
    this.#ssh = createSshDoor({ ...shared, hostKeys });
    this.#http = createHttpDoor({
      ...shared,
      gateway: runtime,
      sources: config.sources_listen === null ? sources : null,
      health: this.#health,
    });
    this.#sources = sources === null ? null : createSourceListener({ config, sources, log });
  }

  /** @returns where each door listens. `sources` is null if the HTTP door serves the sources. */
  async listen(): Promise<Parameters<ServerAddresses['set']>[1]> {
    await this.#socket.listen();
    const [ssh, http, sources] = await Promise.all([
      this.#ssh.listen(),
      this.#http.listen(),
      this.#sources?.listen() ?? null,
    ]);
    return { ssh, http, sources };
  }

  /** Says that the server is being stopped. */
  leave(): void {
    this.#health.close();
  }

  /** Closes the doors, but not the socket: the hooks of pushes under way need it until the line is closed. */
  async close(): Promise<void> {
    await Promise.all([this.#ssh.close(), this.#http.close(), this.#sources?.close()]);
  }

  async closeSocket(): Promise<void> {
    await this.#socket.close();
  }
}

/** Serves a connection to the socket in the data folder: a hook, or the local binary, which acts as the operator. */
async function serveLocal(
  connection: LocalConnection,
  packServices: GitPackServices,
  services: Services,
): Promise<void> {
  if (connection.firstLine.startsWith('hook ')) {
    await serveHook(connection, (id) => packServices.push(id));
    return;
  }
  await serveControl(connection.socket, connection.firstLine, connection.rest, (line) =>
    runCommand({ ...line, services, principal: operator }),
  );
}
