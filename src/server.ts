import { resolve } from 'node:path';
import { authorizeAgain } from './auth/reauthorize.ts';
import { type BackEnds, concurrentDeployments } from './choose-back-ends.ts';
import { commands } from './cli/command-table.ts';
import { asTyped, typedAt } from './cli/commands/help.ts';
import { SetAside } from './core/disk/set-aside.ts';
import type { ToolName } from './core/names.ts';
import { type Addresses, hostPort, ServerAddresses, sshCommand } from './core/network/addresses.ts';
import { DeploymentLine } from './deploy/line/deployment-line.ts';
import { frozenWords } from './deploy/line/line-refusals.ts';
import { repairRepository } from './deploy/reconciliation/repair-repository.ts';
import { resumeTool } from './deploy/reconciliation/resume-tool.ts';
import { upToDate, whatIsLive } from './deploy/release/live-release.ts';
import { applyRetention, mergePacks } from './deploy/retention.ts';
import { type ServerPod, tellStart } from './first-start.ts';
import { GitPackServices } from './git/git-pack-services.ts';
import { hasUsers } from './recovery/data-facts.ts';
import { makeDoors } from './server-doors.ts';
import { openState, type ServerState, type StateOptions, socketPathOf } from './server-state.ts';
import { defaultDataFolder } from './settings/account.ts';
import { hostKeyFingerprint } from './ssh/protocol/host-keys.ts';
import { BackupClock } from './store/backups/backups.ts';

export interface ServerOptions extends StateOptions {
  /** The Kubernetes pod that the server runs in. Null, the default, if it runs in none. */
  readonly pod?: ServerPod | null;
  /** Prints text for the person at the terminal. */
  readonly tell: (text: string) => void;
}

export interface RunningServer {
  readonly addresses: Addresses;
  close(): Promise<void>;
}

/**
 * Starts the server in three steps: the state, the queue of deployments, and the SSH and HTTP servers.
 *
 * @throws DeployError if a setting, the machine or another server prevents the start.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, log, tell } = options;
  const { data } = config;
  const addresses = new ServerAddresses();
  const state = await openState(options, addresses);
  const { line, packServices } = openLine(options, state, addresses);
  const doors = makeDoors(options, state, { line, packServices, addresses });

  const { context, backEnds, directory, store, hostKeys } = state;
  const { runtime } = backEnds;
  const resuming = new AbortController();
  const resumeBuilds = await line.resume(state.resumed);
  // Before the server listens, so that no visitor gets through.
  for (const { name, isInMaintenance } of store.tools())
    if (isInMaintenance)
      await runtime
        .setMaintenance(name, true)
        .catch((err: unknown) =>
          log.error({ tool: name, err }, 'cannot begin the maintenance mode of a tool'),
        );
  const listening = await doors.listen();
  addresses.set(config, listening);
  const first = await state.makeFirst();
  for (const { name } of store.tools()) void resumeTool(context, name, resuming.signal);
  resumeBuilds();

  tellTrust(tell, backEnds);
  const web = first === null ? null : runtime.address(first.tool as ToolName);
  const hostKey = hostKeyFingerprint(hostKeys);
  const { pod = null } = options;
  tell(tellStart(first, addresses, { web, hostKey, pod, data: data === defaultDataFolder() ? null : data }));
  const { ssh, http, sources } = listening;
  const places = {
    ssh: hostPort(ssh),
    http: hostPort(http),
    ...(sources === null ? {} : { sources: hostPort(sources) }),
  };
  log.info({ ...places, data, sandbox: backEnds.isolation }, 'ready');
  const backups = new BackupClock({
    data,
    hasLive: () => store.tools().some(({ liveVersion }) => liveVersion !== null),
    isDirectoryGood: () => hasUsers(config),
    log,
  });

  return {
    addresses,
    close: async () => {
      doors.health.close();
      resuming.abort();
      await Promise.all([line.close(), runtime.endOneOffs(), doors.close()]);
      await doors.socket.close();
      await runtime.close();
      await directory.close();
      await backups[Symbol.asyncDispose]();
      store.close();
    },
  };
}

/** Opens the queue of deployments, and the git services whose pushes enter this queue. */
function openLine({ config, log }: ServerOptions, state: ServerState, addresses: Addresses) {
  const { context, directory, tokens, logs, audit, room, cleanUp } = state;
  const { store, repositories, runtime } = context;
  const line = new DeploymentLine({
    ...context,
    logs,
    concurrentDeployments: concurrentDeployments(config),
    treeLimits: { files: config.tree_files, bytes: config.tree_bytes },
    licencePolicy: config.licence_policy,
    assertStillMay: (principal, tool, signal, action = 'deploy') =>
      authorizeAgain(directory, tokens, { principal, tool, signal, action }),
    typed: (hint, principal) => asTyped(hint, commands, typedAt(principal, addresses)),
    afterEach: (deployment) =>
      applyRetention(
        {
          ...context,
          logs,
          keepArtifacts: config.keep_artifacts,
          cleanUp,
          whileIdle: (tool, work) => packServices.whileIdle(tool, work),
          forgetParked: (tool, id, withCommit) => packServices.forgetParked(tool, id, withCommit),
        },
        deployment,
      ),
  });
  const packServices = new GitPackServices({
    repositories,
    hooksFolder: resolve(import.meta.dirname, '../hooks'),
    socketPath: socketPathOf(config),
    maxPackBytes: config.pack_size,
    maxRefs: config.push_refs,
    maxRepositoryBytes: (tool) => store.ownLimits(tool).repository ?? config.repository_size,
    room,
    repair: (tool) => repairRepository(context, tool, new SetAside(config.data)),
    mergePacks: (tool) => cleanUp.unlessHeld(() => mergePacks(repositories, tool)),
    submit: async (push) => {
      await authorizeAgain(directory, tokens, push);
      return await line.submit(push);
    },
    tryOut: async (push, { progress, signal }, seen) => {
      await authorizeAgain(directory, tokens, push);
      await line.tryOut(push, { repositories: seen, progress, signal });
    },
    follow: (id, isColoured, signal) => line.follow(id, { isColoured: isColoured && config.colour, signal }),
    whatIsLive: (tool) => whatIsLive(store, runtime, tool),
    frozen: (tool) => {
      const freeze = store.freezeOf(tool);
      return freeze === null ? null : frozenWords(tool, freeze);
    },
    hints: (tool, uid) => ({
      redeploy: upToDate(context, tool, config.deploy_branch, (command) =>
        sshCommand(addresses, uid, `${command} ${tool}`),
      ),
      follow: (id) => sshCommand(addresses, uid, `logs ${tool} -f --build ${id}`),
    }),
    audit,
    log,
  });
  return { line, packServices };
}

/** Says if tools are not isolated, and why. */
function tellTrust(tell: ServerOptions['tell'], { whyTrusted, isolation }: BackEnds): void {
  if (whyTrusted !== null)
    tell(
      ` !     ${whyTrusted}\n !     Until then every tool runs with your own rights: push only code that you trust.\n`,
    );
  else if (isolation === 'trusted')
    tell(
      ' !     The setting sandbox is trusted: every tool runs with your own rights. Push only code that you trust.\n',
    );
}
