import { join, resolve } from 'node:path';
import { DeployTokens } from './auth/deploy-tokens.ts';
import { LoginThrottle } from './auth/login-throttle.ts';
import { authorizeAgain } from './auth/reauthorize.ts';
import { type BackEnds, chooseBackEnds, concurrentDeployments } from './choose-back-ends.ts';
import { chooseDirectory } from './choose-directory.ts';
import type { Services } from './cli/command.ts';
import { serveControl } from './cli/control/control-protocol.ts';
import { runCommand } from './cli/run-command.ts';
import type { Config } from './config.ts';
import { openDataFolder } from './core/disk/data-folder.ts';
import { DiskRoom } from './core/disk/disk-space.ts';
import { SetAside } from './core/disk/set-aside.ts';
import { Followers } from './core/fair-share/followers.ts';
import type { Log } from './core/log/log.ts';
import type { ToolName } from './core/names.ts';
import { type Addresses, addressesOf, hostPort, sshCommand } from './core/network/addresses.ts';
import type { Principal } from './core/types.ts';
import type { DeployContext } from './deploy/deploy-context.ts';
import { DeploymentLogs } from './deploy/deployment-log.ts';
import { DeploymentLine } from './deploy/line/deployment-line.ts';
import { mendRepositories } from './deploy/reconciliation/read-back-releases.ts';
import { reconcile } from './deploy/reconciliation/reconcile.ts';
import { repairRepository } from './deploy/reconciliation/repair-repository.ts';
import { resumeTool } from './deploy/reconciliation/resume-tool.ts';
import { upToDate, whatIsLive } from './deploy/release/live-release.ts';
import { applyRetention } from './deploy/retention.ts';
import { type ServerPod, tellStart } from './first-start.ts';
import { GitPackServices } from './git/git-pack-services.ts';
import { Repositories } from './git/repositories.ts';
import { createHttpDoor } from './http/http-door.ts';
import { createSourceListener } from './http/sources/source-listener.ts';
import { assertNobodyListens, type LocalConnection, LocalSocket } from './local-socket/local-socket.ts';
import { serveHook } from './local-socket/serve-hook.ts';
import { makeKeysFolder, openKeys } from './open-keys.ts';
import { hasUsers, isWhole, readDataFacts } from './recovery/data-facts.ts';
import { assertStartable, examine, tellFindings } from './recovery/examine.ts';
import { behind } from './recovery/expected-live.ts';
import { endLeftovers, INSTANCE_VARIABLE, instanceId } from './sandbox/process/marked-processes.ts';
import { ServerHealth } from './server-health.ts';
import { hostKeyFingerprint } from './ssh/protocol/host-keys.ts';
import { createSshDoor } from './ssh/ssh-door.ts';
import { auditFile } from './store/audit-file.ts';
import { BackupClock } from './store/backups/backups.ts';
import { DataLock } from './store/data-lock.ts';
import { SqliteStore } from './store/sqlite-store.ts';

export interface ServerOptions {
  readonly config: Config;
  readonly log: Log;
  /** The person for whom the first start makes a user. */
  readonly owner: { readonly userName: string; readonly homeFolder: string };
  /** The pod that the server runs in. Null, the default, if it runs in none. */
  readonly pod?: ServerPod | null;
  /** PATH for git. */
  readonly path: string;
  /** Prints text for the person at the terminal. */
  readonly tell: (text: string) => void;
  /** Replaces the back ends that the settings choose, for callers that start a server from code. */
  readonly backEnds?: Pick<BackEnds, 'builder' | 'runtime'>;
}

export interface RunningServer {
  readonly addresses: Addresses;
  close(): Promise<void>;
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

/**
 * Starts the server: opens the data folder, chooses the back ends, repairs what an earlier server left behind, and
 * opens the doors. All parts are connected here and nowhere else.
 *
 * @throws DeployError if a setting, the machine or another server prevents the start.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, log, owner, tell } = options;
  const { data } = config;
  // The users of sandboxes must pass through the data folder to their own folders. Everything inside has its own mode.
  await openDataFolder(data);
  const socketPath = join(data, 'run/server.sock');
  const addresses = { ssh: '', http: '' };
  let sourceOrigin = '';
  const { directory, makeFirst, countPeople } = await chooseDirectory({ config, owner, log });
  // The lock comes before anything is read or ended, because another server may be using this folder.
  using opening = new DisposableStack();
  const lock = opening.use(new DataLock(data));
  await assertNobodyListens(socketPath);
  // The folder must exist before the sandbox is chosen, because the sandbox hides only folders that exist.
  await makeKeysFolder(config.keys);
  // A killed server may have left processes running. The locks of its git processes are dead only after these have
  // ended.
  await endLeftovers(data);
  const choosing = chooseBackEnds({
    config,
    addresses,
    sourceOrigin: () => sourceOrigin,
    countPeople,
    log,
    given: options.backEnds ?? null,
  });
  // `choosing` is awaited later, so that a fault of the data folder is reported first. It ends before the lock is
  // released.
  const settled = choosing.then(noop, noop);
  await using _chosen = { [Symbol.asyncDispose]: () => settled };
  const facts = await readDataFacts(config);
  const findings = examine(facts);
  const whole = new Set(facts.repositories.flatMap((one) => (isWhole(one) ? [one.tool] : [])));
  assertStartable(findings);
  const { secretsKey, hostKeys } = await openKeys(config.keys);
  const store = new SqliteStore(data, secretsKey, lock);
  opening.move();
  const audit = auditFile(data, log);
  const room = new DiskRoom(data);
  const health = new ServerHealth({ room, store, log });
  const resuming = new AbortController();
  const repositories = new Repositories({
    folder: join(data, 'repositories'),
    path: options.path,
    deployBranch: config.deploy_branch,
    marks: { [INSTANCE_VARIABLE]: instanceId(data) },
  });
  await tellFindings(findings, data, log);
  await mendRepositories({ store, repositories, log }, new SetAside(data), {
    mayBeDamaged: (tool) => !whole.has(tool),
    isBehind: (tool) => behind(facts, tool).length > 0,
  });
  const { builder, runtime, sources, isolation, whyTrusted } = await choosing;
  const context: DeployContext = {
    store,
    repositories,
    builder,
    runtime,
    buildsADay: config.builds_a_day,
    maxReplicas: config.max_replicas,
    log,
  };
  const logs = new DeploymentLogs(join(data, 'deployments'));
  const resumed = await reconcile(context, logs);

  const line = new DeploymentLine({
    ...context,
    logs,
    concurrentDeployments: concurrentDeployments(config),
    treeLimits: { files: config.tree_files, bytes: config.tree_bytes },
    licencePolicy: config.licence_policy,
    assertStillMay: (principal, tool, signal) =>
      authorizeAgain(directory, tokens, { principal, tool, signal }),
    afterEach: (deployment) =>
      applyRetention(
        {
          ...context,
          logs,
          keepArtifacts: config.keep_artifacts,
          whileIdle: (tool, work) => packServices.whileIdle(tool, work),
          forgetParked: (tool, id, withCommit) => packServices.forgetParked(tool, id, withCommit),
        },
        deployment,
      ),
  });
  const tokens = new DeployTokens(store);
  const packServices = new GitPackServices({
    repositories,
    hooksFolder: resolve(import.meta.dirname, '../hooks'),
    socketPath,
    maxPackBytes: config.pack_size,
    maxRefs: config.push_refs,
    maxRepositoryBytes: config.repository_size,
    room,
    repair: (tool) => repairRepository(context, tool, new SetAside(data)),
    submit: async (push) => {
      await authorizeAgain(directory, tokens, push);
      return await line.submit(push);
    },
    follow: (id, isColoured, signal) => line.follow(id, { isColoured: isColoured && config.colour, signal }),
    whatIsLive: (tool) => whatIsLive(store, runtime, tool),
    hints: (tool, uid) => ({
      redeploy: upToDate(context, tool, config.deploy_branch, (command) =>
        sshCommand(addresses, uid, `${command} ${tool}`),
      ),
      follow: (id) => sshCommand(addresses, uid, `logs ${tool} -f --build ${id}`),
    }),
    audit,
    log,
  });
  const services: Services = {
    directory,
    deployments: line,
    runtime,
    store,
    tokens,
    audit,
    addresses,
    followers: new Followers(),
    room,
  };
  const throttle = new LoginThrottle();
  const socket = new LocalSocket({
    path: socketPath,
    log,
    serve: (connection) => serveLocal(connection, packServices, services),
  });
  const ssh = createSshDoor({
    config,
    hostKeys,
    directory,
    packServices,
    runCommand,
    services,
    throttle,
    log,
  });
  const http = createHttpDoor({
    config,
    directory,
    packServices,
    gateway: runtime,
    sources: config.sources_listen === null ? sources : null,
    runCommand,
    services,
    throttle,
    log,
    health,
  });

  const sourcesDoor = sources === null ? null : createSourceListener({ config, sources, log });

  const resumeBuilds = await line.resume(resumed);
  await socket.listen();
  const [sshAt, httpAt, sourcesAt] = await Promise.all([
    ssh.listen(),
    http.listen(),
    sourcesDoor?.listen() ?? null,
  ]);
  Object.assign(addresses, addressesOf(config, { ssh: sshAt, http: httpAt }));
  sourceOrigin = sourcesAt === null ? addresses.http : `http://${hostPort(sourcesAt)}`;
  const first = await makeFirst();
  for (const { name } of store.tools()) void resumeTool(context, name, resuming.signal);
  resumeBuilds();

  if (whyTrusted !== null)
    tell(
      ` !     ${whyTrusted}\n !     Until then every tool runs with your own rights: push only code that you trust.\n`,
    );
  else if (isolation === 'trusted')
    tell(
      ' !     The setting sandbox is trusted: every tool runs with your own rights. Push only code that you trust.\n',
    );
  const web = first === null ? null : runtime.address(first.tool as ToolName);
  tell(tellStart(first, addresses, { web, hostKey: hostKeyFingerprint(hostKeys), pod: options.pod ?? null }));
  const listening = {
    ssh: hostPort(sshAt),
    http: hostPort(httpAt),
    ...(sourcesAt === null ? {} : { sources: hostPort(sourcesAt) }),
  };
  log.info({ ...listening, data, sandbox: isolation }, 'ready');
  const backups = new BackupClock({
    data,
    hasLive: () => store.tools().some(({ liveVersion }) => liveVersion !== null),
    isDirectoryGood: () => hasUsers(config),
    log,
  });

  return {
    addresses,
    close: async () => {
      health.close();
      resuming.abort();
      await Promise.all([
        line.close(),
        runtime.endOneOffs(),
        ssh.close(),
        http.close(),
        sourcesDoor?.close(),
      ]);
      await socket.close();
      await runtime.close();
      await directory.close();
      await backups[Symbol.asyncDispose]();
      store.close();
    },
  };
}

function noop(): void {}

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
