import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Config } from '../../../config.ts';
import { inPieces, outputTime } from '../../../core/fair-share/time-shares.ts';
import type { Log } from '../../../core/log/log.ts';
import { type Mask, maskedLines, masking } from '../../../core/masking/masking.ts';
import { releaseVariables, type ToolName } from '../../../core/names.ts';
import type { Process, Release } from '../../../core/types.ts';
import { certificateVariables } from '../../../sandbox/certificate-variables.ts';
import type { DiskEnd, Exit, Mount, Sandbox, SandboxProcess } from '../../../sandbox/sandbox.ts';
import { runTree } from '../../../stack/stacks.ts';
import { withScript } from '../../health/script-check.ts';
import { CUT, LogLines } from '../../logs/log-lines.ts';
import type { ToolLog } from '../../logs/tool-log.ts';
import { memoryLimit, settingsOf } from '../../service-limits.ts';
import { beginsError, MOST_DETAILS } from '../../words/last-error.ts';
import { ExecAgent } from '../one-off/exec-agent.ts';
import type { DiskWatch } from './disk-watch.ts';
import type { Ports } from './ports.ts';
import { REPLICA_FILE, type ReplicaFile } from './replica-file.ts';
import { makeRunFolders, type RunFolders } from './run-folders.ts';
import type { StartTurns } from './start-turns.ts';

/**
 * Returns `base`, the environment of a process, with the variables that the buildpack layers of the artifact set.
 */
export type LaunchEnvironment = (options: {
  readonly layersFolder: string;
  readonly layersPath: string;
  readonly buildpacks: readonly string[];
  readonly processType: string;
  readonly base: Readonly<Record<string, string>>;
}) => Promise<Record<string, string>>;

export interface RunParts {
  readonly config: Pick<
    Config,
    | 'health_time'
    | 'settle_time'
    | 'release_time'
    | 'schedule_time'
    | 'scheduled_processes'
    | 'grace_time'
    | 'run_processes'
    | 'run_memory'
    | 'run_disk'
    | 'build_environment'
  >;
  readonly sandbox: Sandbox;
  readonly diskWatch: DiskWatch;
  /** The turns for the starts of scheduled runs and one-off commands of all tools. */
  readonly runTurns: StartTurns;
  readonly launchEnvironment: LaunchEnvironment;
  readonly ports: Ports;
  /** Returns the tool's `replica.my.cnf`. Null if the tool has no such file. */
  readonly replicaFile?: (tool: ToolName) => Promise<ReplicaFile | null>;
  readonly log: Log;
  /** The folder that holds the folders of all running processes. */
  readonly folder: string;
}

export interface Start {
  readonly release: Release;
  readonly toolNumber: number;
  readonly process: Process;
  /** The name of the process, such as `web.1`. */
  readonly name: string;
  readonly toolLog: ToolLog;
  /** Called with each line of output, with config vars and the password of replica.my.cnf masked. */
  readonly onLine?: (text: string) => void;
  /** If true, and memory is short, the kernel ends this process before live processes, until `settle` is called. */
  readonly endsFirst?: boolean;
  /**
   * Called after the end of the process if it has created, changed or deleted files in the folder of its release. Gets
   * the names that `RunFolders.changed` returns, with config vars and the password of replica.my.cnf masked.
   */
  readonly onChanged?: (names: readonly string[]) => void;
}

/** One run of one process. */
export interface Running {
  readonly process: SandboxProcess;
  /** The port at 127.0.0.1 (`outside`) and the value of PORT (`inside`). Null for a process without a port. */
  readonly port: { readonly outside: number; readonly inside: number } | null;
  /**
   * The path, on this machine, of the file that exists once the health check script has passed. Null without a script.
   */
  readonly mark: string | null;
  /** The agent of the process, which starts the commands of `exec` beside it. */
  readonly agent: ExecAgent;
  /** Fires when the process has ended. */
  readonly over: AbortSignal;
  /** The last lines of output, with config vars and the password of replica.my.cnf masked. */
  lastLines(): Promise<readonly string[]>;
  /** Resolves when the process has ended, its output is in the tool's log, and its folders are deleted. */
  readonly finished: Promise<Exit>;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** The value of PORT for a process with its own network namespace, unless the tool asks for another port. */
export const INSIDE_PORT = 8000;
/** The largest file that a process may write (RLIMIT_FSIZE). */
export const LARGEST_FILE_BYTES = 1024 ** 3;
const KEPT_LINES = 20;
/**
 * The prepared search for secrets is kept for this many milliseconds after its last use. To prepare the search takes up
 * to 0.2 s and 15 MiB, and health checks may need it several times a second.
 */
const MASK_KEPT_MS = 10_000;
/** The name of a file in the /tmp of a process. The file exists once the health check script has passed. */
const MARK = '.toolforge-push-healthy';

/** Starts a process of a release in a sandbox, with new folders, and with a port if it is a `web` process. */
export async function startRun(start: Start, parts: RunParts): Promise<Running> {
  const replica = (await parts.replicaFile?.(start.release.tool)) ?? null;
  const place = await makeRunFolders(parts.folder, start.toolNumber, parts, replica);
  const outside = start.process.type === 'web' ? await parts.ports.take() : null;
  const giveBack = async () => {
    await place.remove();
    // Give the port back only now, after the folders are removed. Requests to the ended process may still be on their
    // way, and no other process must get these.
    if (outside !== null) parts.ports.giveBack(outside);
  };
  try {
    return await startIn(place, outside, { start, parts, giveBack });
  } catch (error) {
    await giveBack();
    throw error;
  }
}

interface StartParts {
  readonly start: Start;
  readonly parts: RunParts;
  readonly giveBack: () => Promise<void>;
}

async function startIn(
  place: RunFolders,
  outside: number | null,
  { start, parts, giveBack }: StartParts,
): Promise<Running> {
  const { sandbox, config } = parts;
  const { port: asked = INSIDE_PORT } = start.release.artifact.service;
  const port = outside === null ? null : { outside, inside: sandbox.mode === 'isolated' ? asked : outside };
  const { workspace, layers } = artifactMounts(start.release, place);
  const env = await environment(start, parts, { place, layers, port: port?.inside ?? null });
  const { command, type } = start.process;
  const agent = await ExecAgent.make(place.folder, start.toolNumber, sandbox);
  const { healthCheckScript: script } = settingsOf(start.release, type);
  const started = sandbox.start({
    name: `${start.name} of ${start.release.tool}`,
    argv: agent.around(script === undefined ? command : withScript(command, script, join(place.tmp, MARK))),
    env,
    cwd: sandbox.path(workspace),
    mounts: [workspace, ...(layers === null ? [] : [layers]), ...place.mounts, agent.mount],
    tree: runTree(start.release.artifact.reference),
    toolNumber: start.toolNumber,
    limits: {
      processes: config.run_processes,
      memoryBytes: memoryLimit(start.release, type, config.run_memory),
      fileBytes: LARGEST_FILE_BYTES,
    },
    publish: port,
    endsFirst: start.endsFirst === true,
  });
  const process = withinDisk(started, place, parts);
  const over = new AbortController();
  void process.exited.then(() => over.abort());
  const secrets = secretsOf(start, place);
  const output = new RunOutput(start, secrets);
  const finished = output.taken(process).then(async (exit) => {
    const changed = start.onChanged === undefined ? [] : await place.changed();
    await giveBack();
    const share = String(start.toolNumber);
    if (changed.length > 0)
      start.onChanged?.(await maskedLines(changed, (await masking(secrets, share)).steps, share));
    return exit;
  });
  const mark = script === undefined ? null : join(place.folder, 'tmp', MARK);
  return { process, port, mark, agent, over: over.signal, lastLines: () => output.lastLines(), finished };
}

/**
 * Returns the process with a watch of its folder. The watch kills the process if `DiskWatch` asks for this, for example
 * because the process writes too much. `exited` then gives the reason.
 */
export function withinDisk(
  process: SandboxProcess,
  { folder, toolNumber }: RunFolders,
  { diskWatch }: Pick<RunParts, 'diskWatch'>,
): SandboxProcess {
  let disk: DiskEnd | null = null;
  const watching = diskWatch.watch({ folder, toolNumber }, (end) => {
    disk = end;
    process.kill();
  });
  const exited = process.exited.then((exit) => {
    watching[Symbol.dispose]();
    return disk === null ? exit : { ...exit, disk };
  });
  return { ...process, exited };
}

/**
 * The secrets that the output of a push must not show. The key of each is the name that is shown instead: of a config
 * var, or `replica.my.cnf`, which no config var can have as its name.
 */
function secretsOf({ release }: Start, { variables }: RunFolders): Record<string, string> {
  const password = variables['TOOL_REPLICA_PASSWORD'];
  return { ...(password === undefined ? {} : { [REPLICA_FILE]: password }), ...release.configVars };
}

/**
 * Writes the output of one run to the tool's log without masking, because readers of `logs` may read config vars too.
 */
class RunOutput {
  readonly #start: Start;
  readonly #secrets: Readonly<Record<string, string>>;
  readonly #lines = new LogLines();
  #last: string[] = [];
  /** The newest line that begins an error, and how many lines have followed. Null if no line has begun an error. */
  #error: { readonly text: string; later: number } | null = null;
  /** The prepared search for secrets. Null if it has not been used for `MASK_KEPT_MS`. */
  #mask: Promise<Mask> | null = null;
  #forgetting: NodeJS.Timeout | undefined;

  constructor(start: Start, secrets: Readonly<Record<string, string>>) {
    this.#start = start;
    this.#secrets = secrets;
  }

  /** Writes all output of the process to the tool's log. Then resolves with how the process ended. */
  async taken(process: SandboxProcess): Promise<Exit> {
    const { onLine, toolNumber, name, toolLog, release } = this.#start;
    const share = String(toolNumber);
    const mask = onLine === undefined ? null : await this.#masking();
    const show = function* (texts: readonly string[], steps: Mask['steps']): Generator<void, void> {
      for (const text of texts) {
        onLine?.(yield* steps(text));
        yield;
      }
    };
    const tell = async (texts: readonly string[]) => {
      if (mask !== null) await outputTime.runSteps(share, show(texts, mask));
      await toolLog.append(name, texts, release.version);
    };
    for await (const chunk of process.output) {
      const texts: string[] = [];
      for (const piece of inPieces(chunk)) {
        texts.push(...(await outputTime.run(share, () => this.#take(this.#lines.push(piece)))));
      }
      await tell(texts);
    }
    await tell(this.#take(this.#lines.end()));
    return await process.exited;
  }

  #take(texts: string[]): string[] {
    this.#last = [...this.#last, ...texts].slice(-KEPT_LINES);
    for (const text of texts) {
      if (beginsError(text)) this.#error = { text, later: 0 };
      else if (this.#error !== null) this.#error.later += 1;
    }
    return texts;
  }

  /**
   * Returns the last lines of output, with secrets masked. If these lines may be only the details of an error that
   * began at most `MOST_DETAILS` lines before the end, the first line of the error comes before them. Lines are masked
   * only when this function is called, because most output is never shown in a push. To mask long lines takes time, and
   * health checks call this function often. So the time is charged to the tool's share of the time that the server
   * spends on output (`outputTime`).
   */
  async lastLines(): Promise<string[]> {
    const mask = await this.#masking();
    const { text: error = '', later = 0 } = this.#error ?? {};
    const isAbove = later >= this.#last.length && later <= MOST_DETAILS && error !== '';
    const lines = isAbove ? [error, ...this.#last] : this.#last;
    return await maskedLines(lines, mask, String(this.#start.toolNumber));
  }

  /**
   * Returns a function that masks the secrets in a line of output before a push shows the line. From a line that was
   * cut, the function also removes the end, where a part of a secret may be.
   */
  async #masking(): Promise<Mask['steps']> {
    clearTimeout(this.#forgetting);
    this.#forgetting = setTimeout(() => {
      this.#mask = null;
    }, MASK_KEPT_MS).unref();
    this.#mask ??= masking(this.#secrets, String(this.#start.toolNumber));
    const mask = await this.#mask;
    // Masking does not find half a value. So `withoutHalves` removes at least the length of the longest value from the
    // end of a cut line. In a URL, each byte of a value takes up to three characters, such as %41.
    const longest = Object.values(this.#secrets).reduce(
      (most, value) => Math.max(most, 3 * Buffer.byteLength(value)),
      0,
    );
    return function* (text) {
      return withoutHalves(yield* mask.steps(text), longest);
    };
  }
}

/** Removes the end of a cut line, at least a quarter of the line, because masking does not find a half secret there. */
function withoutHalves(text: string, longest: number): string {
  if (!text.endsWith(CUT)) return text;
  // Colours are removed too, because the sequences in a half secret would make it longer.
  const line = stripVTControlCharacters(text.slice(0, -CUT.length));
  return line.slice(0, Math.max(0, Math.min(Math.floor((line.length * 3) / 4), line.length - longest))) + CUT;
}

/** Sends SIGTERM to a process, and SIGKILL after the grace time. Resolves when the process has ended. */
export async function endGracefully(
  { name, toolLog, release }: Start,
  { process, finished }: Running,
  { config }: RunParts,
): Promise<void> {
  process.terminate();
  const grace = setTimeout(() => {
    const text = `${name} did not end within the grace time and was killed`;
    void toolLog.append('push', [text], release.version);
    process.kill();
  }, config.grace_time);
  await finished;
  clearTimeout(grace);
}

/** Returns the mounts that show an artifact's folders in the sandbox. Changes to `workspace` go to `writesTo`. */
export function artifactMounts(
  { artifact }: Release,
  { writesTo }: Pick<RunFolders, 'writesTo'>,
): { workspace: Mount; layers: Mount | null } {
  const mount = (name: string): Mount => ({
    source: join(artifact.reference, name),
    target: `/${name}`,
    isWritable: false,
  });
  const layers = mount('layers');
  return {
    workspace: { ...mount('workspace'), writesTo },
    layers: existsSync(layers.source) ? layers : null,
  };
}

/**
 * Returns all environment variables of a process: the server's defaults, `releaseVariables`, the variables of
 * replica.my.cnf and of the server's certificates, the setting `build_environment`, the variables of the artifact's
 * buildpack layers and of app.json, the config vars and PORT. If two variables have the same name, the later variable
 * in this list counts, unless a layer only sets a default.
 */
export async function environment(
  { release, process }: Pick<Start, 'release' | 'process'>,
  { sandbox, config, launchEnvironment }: RunParts,
  { place, layers, port }: { place: RunFolders; layers: Mount | null; port: number | null },
): Promise<Record<string, string>> {
  const fixed: Record<string, string> = port === null ? {} : { PORT: String(port) };
  const base = {
    PATH,
    LANG: 'C.UTF-8',
    HOME: place.home,
    TMPDIR: place.tmp,
    TOOL_DATA_DIR: place.home,
    ...releaseVariables(release),
    ...place.variables,
    ...certificateVariables(),
    ...config.build_environment,
    ...fixed,
  };
  const launched =
    layers === null
      ? base
      : await launchEnvironment({
          layersFolder: layers.source,
          layersPath: sandbox.path(layers),
          buildpacks: release.artifact.buildpacks.map(buildpackId),
          processType: process.launchedAs ?? process.type,
          base,
        });
  return { ...launched, ...release.artifact.variables, ...release.configVars, ...fixed };
}

/** Returns the id of a buildpack from an entry of `Artifact.buildpacks`, such as `toolforge/python 3.11.2`. */
function buildpackId(entry: string): string {
  const id = entry.split(' ')[0] ?? '';
  return id.includes('/') ? id : `toolforge/${id}`;
}
