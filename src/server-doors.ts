import { LoginThrottle } from './auth/login-throttle.ts';
import type { Services } from './cli/command.ts';
import { serveControl } from './cli/control/control-protocol.ts';
import { runCommand } from './cli/run-command.ts';
import type { Config } from './config.ts';
import { Followers } from './core/fair-share/followers.ts';
import type { Log } from './core/log/log.ts';
import type { Addresses } from './core/network/addresses.ts';
import type { Principal } from './core/types.ts';
import type { Deployments, Previews } from './deploy/deployments.ts';
import { SourceArchives } from './git/archive/source-archives.ts';
import type { GitPackServices } from './git/git-pack-services.ts';
import { createHttpDoor } from './http/http-door.ts';
import { createSourceListener } from './http/sources/source-listener.ts';
import { type LocalConnection, LocalSocket } from './local-socket/local-socket.ts';
import { serveHook } from './local-socket/serve-hook.ts';
import { transfersFolder } from './recovery/archive/imported-tags.ts';
import { ToolTransfers } from './recovery/archive/tool-transfers.ts';
import { ServerHealth } from './server-health.ts';
import { type ServerState, socketPathOf } from './server-state.ts';
import { createSshDoor } from './ssh/ssh-door.ts';

const operator: Principal = {
  uid: 'operator',
  door: 'local',
  credential: 'local',
  address: '',
  onlyTool: null,
  scope: 'manage',
  isOperator: true,
};

/**
 * Makes the doors, by which clients reach the server: SSH, HTTP, the socket in the data folder, and a port from which
 * builds in a cluster fetch their source files.
 *
 * @throws DeployError if a setting of a door is wrong.
 */
export function makeDoors(
  { config, log }: { readonly config: Config; readonly log: Log },
  state: ServerState,
  served: {
    readonly line: Deployments;
    readonly previews: Previews;
    readonly renames: Services['renames'];
    readonly packServices: GitPackServices;
    readonly addresses: Addresses;
  },
) {
  const { directory, maintainers, store, tokens, audit, room, cleanUp, hostKeys } = state;
  const { runtime, sources } = state.backEnds;
  const { line, previews, renames, packServices, addresses } = served;
  const { repositories } = state.context;
  const limits = {
    memory: config.run_memory,
    builds: config.builds_a_day,
    replicas: config.max_replicas,
    repository: config.repository_size,
  };
  const services: Services = {
    ...{ directory, maintainers, runtime, store, tokens, audit, addresses, room, cleanUp },
    deployments: line,
    archives: new SourceArchives({
      ...{ packServices, room, log, repositories },
      treeLimits: { files: config.tree_files, bytes: config.tree_bytes },
      maxPackBytes: config.pack_size,
    }),
    previews,
    renames,
    transfers: new ToolTransfers({
      ...{ store, repositories, packServices, limits, room, cleanUp, log },
      run: transfersFolder(config.data),
    }),
    followers: new Followers(),
    limits,
    repositoryBytes: (tool) => packServices.bytesOf(tool),
    deployBranch: config.deploy_branch,
  };
  const throttle = new LoginThrottle();
  const shared = { config, directory, packServices, runCommand, services, throttle, log };
  const health = new ServerHealth({ room, store, log });
  const socket = new LocalSocket({
    path: socketPathOf(config),
    log,
    serve: (connection) => serveLocal(connection, packServices, services),
  });
  const ssh = createSshDoor({ ...shared, hostKeys });
  const http = createHttpDoor({
    ...{ ...shared, gateway: runtime, health },
    sources: config.sources_listen === null ? sources : null,
  });
  const sourcesDoor = sources === null ? null : createSourceListener({ config, sources, log });
  return {
    health,
    /**
     * The socket in the data folder. Close it only after the queue of deployments has been closed, because the git
     * hooks of running pushes need it until then.
     */
    socket,
    /**
     * Makes all doors listen. Returns the host and port of each. `sources` is null if builds in a cluster have no port
     * of their own for source files.
     */
    listen: async () => {
      await socket.listen();
      const all = [ssh.listen(), http.listen(), sourcesDoor?.listen() ?? null] as const;
      const [sshAt, httpAt, sourcesAt] = await Promise.all(all);
      return { ssh: sshAt, http: httpAt, sources: sourcesAt };
    },
    /** Closes all doors except `socket`. */
    close: () => Promise.all([ssh.close(), http.close(), sourcesDoor?.close()]),
  };
}

/**
 * Serves a connection to the socket in the data folder. The client is a git hook, or the command `toolforge-push` on
 * this machine, which acts as the operator.
 */
async function serveLocal(
  connection: LocalConnection,
  packServices: GitPackServices,
  services: Services,
): Promise<void> {
  if (/^(hook|dry-run) /.test(connection.firstLine)) {
    await serveHook(connection, (id) => packServices.push(id));
    return;
  }
  await serveControl(connection.socket, connection.firstLine, connection.rest, (line) =>
    runCommand({ ...line, services, principal: operator }),
  );
}
