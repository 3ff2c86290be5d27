import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { authorizeAgain } from './auth/reauthorize.ts';
import { watchRight } from './auth/right-watch.ts';
import { type BackEnds, concurrentDeployments } from './choose-back-ends.ts';
import { commands } from './cli/command-table.ts';
import { asTyped, typedAt } from './cli/commands/help.ts';
import { SetAside } from './core/disk/set-aside.ts';
import { DeployError } from './core/errors.ts';
import type { ToolName } from './core/names.ts';
import { type Addresses, hostPort, ServerAddresses, sshCommand } from './core/network/addresses.ts';
import { PREVIEW_BRANCHES, previewBranch, previewRefusal, previewTool } from './core/preview-names.ts';
import type { Principal } from './core/types.ts';
import { DeploymentLine } from './deploy/line/deployment-line.ts';
import { frozenWords } from './deploy/line/line-refusals.ts';
import { OldLogs } from './deploy/old-logs.ts';
import { ToolPreviews } from './deploy/previews.ts';
import { repairRepository } from './deploy/reconciliation/repair-repository.ts';
import { resumeTool } from './deploy/reconciliation/resume-tool.ts';
import { upToDate, whatIsLive } from './deploy/release/live-release.ts';
import { applyRetention, mergePacks } from './deploy/retention.ts';
import { type ServerPod, tellStart } from './first-start.ts';
import { GitPackServices } from './git/git-pack-services.ts';
import { hasUsers } from './recovery/data-facts.ts';
import { ToolRenames } from './recovery/tool-renames.ts';
import { makeDoors } from './server-doors.ts';
import {
  openState,
  removeToolFolders,
  type ServerState,
  type StateOptions,
  socketPathOf,
} from './server-state.ts';
import { defaultDataFolder } from './settings/account.ts';
import { hostKeyFingerprint } from './ssh/protocol/host-keys.ts';
import { BackupClock } from './store/backups/backups.ts';

export interface ServerOptions extends StateOptions {
  /** The Kubernetes pod of the server. Null, the default, if the server does not run in a pod. */
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
  // By default, a clone of 240 MiB makes V8 collect all garbage 43 times, because Buffers count as memory of the heap.
  // This takes more time than the clone itself. With this flag, V8 collects only after the heap has doubled.
  setFlagsFromString('--heap-growing-percent=100');
  const { config, log, tell } = options;
  const { data } = config;
  const addresses = new ServerAddresses();
  const state = await openState(options, addresses);
  const { line, previews, packServices } = openLine(options, state, addresses);

  const { context, backEnds, directory, store, hostKeys } = state;
  const { runtime } = backEnds;
  const resuming = new AbortController();
  const keepMaintenance = (tool: ToolName) => {
    if (store.tool(tool).isInMaintenance) runtime.keepMaintenance(tool);
  };
  const renames = new ToolRenames({
    ...{ config, store, log, repositories: context.repositories, cleanUp: state.cleanUp },
    letGo: (tool) => runtime.letGo(tool),
    readOutside: (tool) => runtime.outsideVars(tool),
    resume: async (tool) => {
      keepMaintenance(tool);
      await resumeTool(context, tool, resuming.signal);
    },
    isBusy: (tool) => line.isBusy(tool) || packServices.isBusy(tool),
    hold: (names) => directory.hold(names),
    room: state.room,
    forgetName: (tool) => packServices.forgetName(tool),
    isKnown: async (tool) =>
      (await directory.findTool(tool, AbortSignal.timeout(DIRECTORY_MS), { isFresh: true })) !== null,
  });
  const doors = makeDoors(options, state, { line, previews, renames, packServices, addresses });
  const resumeBuilds = await line.resume(state.resumed);
  // Do this before the server listens, so that no visitor reaches a tool that is in maintenance.
  for (const { name } of store.tools()) keepMaintenance(name);
  const listening = await doors.listen();
  addresses.set(config, listening);
  const first = await state.makeFirst();
  const ending = new Set(store.previews().flatMap(({ name, isEnding }) => (isEnding ? [name] : [])));
  for (const { name } of store.tools())
    if (!ending.has(name)) void resumeTool(context, name, resuming.signal);
  previews.start();
  resumeBuilds();
  const warmingUp = backEnds.warmUp?.();

  tellTrust(tell, backEnds);
  const web = first === null ? null : runtime.address(first.tool as ToolName);
  const hostKey = hostKeyFingerprint(hostKeys);
  const { pod = null } = options;
  tell(
    tellStart(first, addresses, {
      ...{ web, hostKey, pod, branch: config.deploy_branch },
      data: data === defaultDataFolder() ? null : data,
    }),
  );
  const { ssh, http, sources } = listening;
  const places = {
    ssh: hostPort(ssh),
    http: hostPort(http),
    ...(sources === null ? {} : { sources: hostPort(sources) }),
  };
  const oldLogs = new OldLogs({
    ...context,
    logs: state.logs,
    cleanUp: state.cleanUp,
    days: config.log_days,
  });
  const backups = new BackupClock({
    data,
    hasLive: () => store.tools().some(({ liveVersion }) => liveVersion !== null),
    isDirectoryGood: () => hasUsers(config),
    log,
  });
  // Log this last, because an error above, such as a damaged store, ends the start.
  log.info({ ...places, data, sandbox: backEnds.isolation }, 'ready');

  return {
    addresses,
    close: async () => {
      doors.health.close();
      resuming.abort();
      await Promise.all([previews[Symbol.asyncDispose](), line.close(), runtime.endOneOffs(), doors.close()]);
      await doors.socket.close();
      await warmingUp;
      await oldLogs[Symbol.asyncDispose]();
      await runtime.close();
      await directory.close();
      await backups[Symbol.asyncDispose]();
      store.close();
    },
  };
}

/** Opens the queue of deployments, the previews, and the git services whose pushes enter this queue. */
function openLine({ config, log }: ServerOptions, state: ServerState, addresses: Addresses) {
  const { context, directory, tokens, logs, audit, room, cleanUp } = state;
  const { store, repositories, runtime } = context;
  const typed = (hint: string, principal: Principal) =>
    asTyped(hint, commands, typedAt(principal, addresses));
  const line = new DeploymentLine({
    ...context,
    logs,
    concurrentDeployments: concurrentDeployments(config),
    treeLimits: { files: config.tree_files, bytes: config.tree_bytes },
    licencePolicy: config.licence_policy,
    assertStillMay: (principal, tool, signal, action = 'deploy') =>
      authorizeAgain(directory, tokens, { principal, tool, signal, action }),
    typed,
    afterEach: (deployment) =>
      previews.afterDeployment(deployment, () =>
        applyRetention(
          {
            ...context,
            logs,
            keepArtifacts: store.previewOf(deployment.tool) === null ? config.keep_artifacts : 1,
            ...(config.builder === 'local' && { mostBytes: async () => (await room.space()).bytes / 4 }),
            cleanUp,
            whileIdle: (tool, work) => packServices.whileIdle(tool, work),
            forgetParked: (tool, id, withCommit) => packServices.forgetParked(tool, id, withCommit),
          },
          deployment,
        ),
      ),
  });
  const previews = new ToolPreviews({
    ...context,
    line,
    cleanUp,
    limit: config.previews,
    days: config.preview_days,
    memory: Math.min(config.preview_memory, config.run_memory),
    isTool: async (name) => (await directory.findTool(name, AbortSignal.timeout(DIRECTORY_MS))) !== null,
    removeFolders: (tool) => removeToolFolders(config.data, tool),
  });
  const isPreview = ({ branchRef }: { readonly branchRef: string }) =>
    branchRef.startsWith(PREVIEW_BRANCHES) && branchRef !== `refs/heads/${config.deploy_branch}`;
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
    previewRefusal: (tool, name) =>
      config.previews === 0
        ? 'this server has no previews, because its setting previews is 0'
        : previewRefusal(tool, name),
    endPreview: async ({ tool, branchRef, hadBranch, principal }) => {
      const preview = previewTool(tool, branchRef.slice(PREVIEW_BRANCHES.length));
      const assertMay = () => authorizeAgain(directory, tokens, { principal, tool });
      await previews.endPushed(preview, { by: principal.uid, hadBranch, assertMay });
    },
    submit: async (push) => {
      await authorizeAgain(directory, tokens, push);
      return await (isPreview(push) ? previews : line).submit(push);
    },
    tryOut: async (push, { progress, signal }, seen) => {
      await authorizeAgain(directory, tokens, push);
      const trial = { repositories: seen, progress, signal };
      const trying = (isPreview(push) ? previews : line).tryOut(push, trial);
      await trying.catch((error: unknown) => {
        throw withTypedHint(error, (hint) => typed(hint, push.principal));
      });
    },
    follow: (id, isColoured, signal) => line.follow(id, { isColoured: isColoured && config.colour, signal }),
    whatIsLive: (tool) => whatIsLive(store, runtime, tool),
    watchRight: (wish) =>
      watchRight((signal) => authorizeAgain(directory, tokens, { ...wish, signal, isFresh: true })),
    assertNamed: (tool) => store.assertNamed(tool),
    frozen: (tool) => {
      const whole = store.previewOf(tool);
      if (whole !== null)
        return `${tool} is a preview of ${whole}; push to the repository of ${whole}: git push toolforge HEAD:${previewBranch(tool).replace('refs/heads/', '')}`;
      const freeze = store.freezeOf(tool);
      return freeze === null ? null : frozenWords(tool, freeze);
    },
    hints: (tool, uid) => ({
      get redeploy() {
        return upToDate(context, tool, config.deploy_branch, (command) =>
          sshCommand(addresses, uid, command),
        );
      },
      follow: (id) =>
        sshCommand(addresses, uid, `logs ${store.deployment(id)?.tool ?? tool} -f --build ${id}`),
    }),
    audit,
    log,
  });
  return { line, previews, packServices };
}

/** Returns the error of a refused push. In its hint, commands are written as the person has to type them. */
function withTypedHint(error: unknown, typed: (hint: string) => string): unknown {
  if (!(error instanceof DeployError)) return error;
  return new DeployError(error.code, error.message, typed(error.hint), { cause: error });
}

/** How long the user directory may take to say whether it has a tool. */
const DIRECTORY_MS = 10_000;

/** Warns the person at the terminal if tools are not isolated, and says why. */
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
