import type { CommitId, ToolName } from './names.ts';
import type { ChangedNames } from './variables/config-changes.ts';

/** Who has logged in. */
export interface Principal {
  /** The normalised user name of the person or of the tool's own account; `operator` for `npx toolforge-push`. */
  readonly uid: string;
  readonly door: 'ssh' | 'http' | 'local';
  /** The credential of the login, safe for a log: `ssh ED25519 SHA256:…` or `password`. */
  readonly credential: string;
  /** The address of the client, without the port. Empty for `npx toolforge-push`. */
  readonly address: string;
  /**
   * The only tool that the credential gives access to (a tool's own key or password, or a deploy token). Null if the
   * credential has no such limit.
   */
  readonly onlyTool: ToolName | null;
  /** The most that the credential allows. `manage` for a person's own key or password. */
  readonly scope: Action;
  /** True for the operator of this server, who may do everything. */
  readonly isOperator: boolean;
  /** The key of a login over SSH and the user name that it was offered with, so that it can be checked again. */
  readonly key?: { readonly login: string; readonly algorithm: string; readonly blob: Buffer };
}

/**
 * What a principal wants from a tool. Each right includes the rights before it. `read`: clone, fetch, lists and logs (but
 * a deploy token that may only read gets no output of processes). `deploy`: also change what is live, run commands in the
 * tool, and see config vars. `manage`: also give access to others.
 */
export type Action = 'read' | 'deploy' | 'manage';

/** How often a process of a release crashed after the release went live. */
export interface Crashes {
  readonly version: number;
  /** The name of the process, such as `web.1`. */
  readonly process: string;
  readonly count: number;
  /** When the process first crashed, in milliseconds since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
  /** Says how the process ended last, for example `exited with code 1`. */
  readonly words: string;
}

/** A secret for machines that gives access to one tool over HTTP. Its maker is responsible for its use. */
export interface DeployToken {
  /** Ten lower-case letters and digits. */
  readonly id: string;
  readonly tool: ToolName;
  /** The name that the maker of the token gave it, such as `ci`. */
  readonly name: string;
  readonly scope: Exclude<Action, 'manage'>;
  readonly by: string;
  /** When the token was made, in milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number;
  /** When the token was last used, exact to the minute. Null if it was never used. */
  readonly lastUsedAt: number | null;
}

/** A process that a tool can run, from launch.toml or from a file of its source, such as the Procfile. */
export interface Process {
  /**
   * The process type: lower-case letters, digits, `-` and `_`. `web` gets the variable PORT and the requests to the
   * tool.
   */
  readonly type: string;
  /** The argument list. The server starts this command directly, and adds no shell. */
  readonly command: readonly string[];
  readonly isDefault: boolean;
  /** When the process runs. Absent if it has no schedule. */
  readonly schedule?: Schedule;
  /**
   * How many processes of this type run unless `scale` sets a number. 0 for a named command, which does not start by
   * itself. Absent for `release` and for a scheduled process. `web` has a number only from app.json; if it has none,
   * `replicas` of the artifact's `service` counts. In releases that earlier versions of the server made, this is always
   * absent, and one process of each type runs.
   */
  readonly replicas?: number;
  /**
   * Buildpacks can set environment variables for one process type. This is the type whose variables this process gets.
   * Null for a command line from a file of the source such as toolforge.yaml, which gets none of these variables.
   * Absent if it is the process's own type.
   */
  readonly launchedAs?: string | null;
  /** True if this process runs as a test in the finished artifact, before the release command. Absent otherwise. */
  readonly isTest?: true;
  /**
   * The settings that the tool asks for, such as the memory of this process. Absent if it asks for nothing. Also absent
   * for `web`, because the settings of `web` are in the artifact's `service`.
   */
  readonly settings?: ProcessSettings;
}

/** The resources that a process asks for. The settings of the server limit them. */
export interface ProcessSize {
  /**
   * The memory that the process asks for, in bytes. The process gets at most the memory that the setting `run_memory`
   * allows.
   */
  readonly memoryBytes?: number;
  /** The processor cores that the process asks for: 0.5 for half of one. */
  readonly cpuCores?: number;
}

/** The sizes that `scale` has set, by process type. They replace the sizes that files of the source ask for. */
export type Sizes = Readonly<Record<string, ProcessSize>>;

/** How a process is checked, and which resources it asks for. */
export interface ProcessSettings extends ProcessSize {
  /**
   * A command line for bash that exits with 0 if the process is healthy. It runs beside the process, again and again.
   */
  readonly healthCheckScript?: string;
}

/** When a scheduled process runs, and how. */
export interface Schedule {
  /** The schedule as the tool wrote it, such as `@daily`. */
  readonly text: string;
  /** The five fields of a crontab line, in UTC, as `readSchedule` gives them. */
  readonly cron: string;
  /** How often a failed run is started again, 0 to 5. */
  readonly retry: number;
  /**
   * The time limit of a run, in seconds, that the tool sets. Null if it sets none. `runLimit` also applies the
   * operator's limit (`schedule_time`).
   */
  readonly timeoutSeconds: number | null;
}

/** The settings of the web process, from service.template, toolforge.yaml or jobs.yaml. */
export interface ServiceSettings extends ProcessSettings {
  /** The path that answers 200 to 399 if the tool is healthy. Null if any answer will do. */
  readonly healthCheckPath: string | null;
  /** How many web processes the tool asks for, at least 1. Absent if the tool asks for no number. */
  readonly replicas?: number;
  /** The port on which the tool listens, and the value of PORT. Absent if the server chooses the port. */
  readonly port?: number;
}

/** The result of a build. Immutable. */
export interface Artifact {
  /** The id of the build that made this artifact. */
  readonly id: string;
  readonly kind: 'slug' | 'image';
  /** Where the artifact is: a folder for a slug, `host/name@sha256:…` for an image. */
  readonly reference: string;
  readonly processes: readonly Process[];
  /**
   * The buildpacks that took part, in order. Each text has the name of the buildpack and the version of the runtime
   * that it installed, or else the version of the buildpack: `toolforge/python 3.11.2`.
   */
  readonly buildpacks: readonly string[];
  readonly service: ServiceSettings;
  /** The default values of config vars, from `env` of app.json. A config var that is set replaces its default. */
  readonly variables?: Readonly<Record<string, string>>;
  /**
   * The config vars that are to be random secrets if they are not set, from `env` of app.json. Absent if there are
   * none.
   */
  readonly secrets?: readonly string[];
  /** The config vars that must be set before a release, from `env` of app.json. Absent if there are none. */
  readonly required?: readonly RequiredVar[];
  readonly bytes: number;
}

/** A config var that app.json requires, and what app.json says about it, on one line. */
export interface RequiredVar {
  readonly name: string;
  readonly description: string | null;
}

/** How many processes are to run, by process type: `{ web: 2, worker: 0 }`. */
export type Replicas = Readonly<Record<string, number>>;

/** An immutable version of a tool. */
export interface Release {
  readonly tool: ToolName;
  /** The number of the release among those of the tool: 1 for the first, which is printed as `v1`. */
  readonly version: number;
  readonly commit: CommitId;
  readonly artifact: Artifact;
  readonly configVars: Readonly<Record<string, string>>;
  /** What the release is for: `Deploy 3f2c1ab`, `Rollback to v3`, `Set API_KEY`. */
  readonly description: string;
  readonly by: string;
  readonly credential: string;
  readonly deploymentId: string;
  /** When the release was made, in milliseconds since 1970. */
  readonly createdAt: number;
  /**
   * The most memory of one process, if an operator has set a limit for this tool. Absent if the setting `run_memory`
   * applies. This is the present limit, which is not part of the release.
   */
  readonly mostMemoryBytes?: number;
  /**
   * The memory and CPU that `scale` has set for process types. Absent if it has set none. These are the present sizes,
   * which are not part of the release.
   */
  readonly sizes?: Sizes;
}

/**
 * What started a deployment. A push and a redeploy build, but a push may use an earlier build of its commit. A
 * rollback, a restart and a config change use an existing artifact. But if the live artifact can no longer run, a
 * config change builds a new one. A scale changes how many processes of the live release run, or their memory and CPU.
 * A promotion uses a copy of the artifact of another tool.
 */
export type DeploymentKind = 'push' | 'redeploy' | 'rollback' | 'config' | 'restart' | 'scale' | 'promote';

/**
 * `waiting` → `building` → `releasing` → `rolling-out` → `live`, or another end, after which the old release is still
 * live. `superseded` means that a newer push took the place of the deployment in the line.
 */
export type DeploymentState =
  | 'waiting'
  | 'building'
  | 'releasing'
  | 'rolling-out'
  | 'live'
  | 'failed'
  | 'cancelled'
  | 'superseded'
  | 'interrupted';

export interface Deployment {
  readonly id: string;
  readonly tool: ToolName;
  readonly kind: DeploymentKind;
  readonly state: DeploymentState;
  readonly commit: CommitId;
  /**
   * For a push: the commit of the pushed branch on this server when the client pushed. For all other kinds: the commit
   * that was live when the deployment was requested. Null if there was no such commit.
   */
  readonly oldCommit: CommitId | null;
  readonly by: string;
  readonly door: Principal['door'];
  readonly credential: string;
  /** Describes the deployment: for a push, `-o message=…` or the commit's subject. Null if there is nothing to say. */
  readonly message: string | null;
  readonly version: number | null;
  /** Why the deployment did not go live: one line for the client's report. */
  readonly reason: string | null;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
}

/** The states of Toolforge's builds-api. */
export type BuildState =
  | 'BUILD_PENDING'
  | 'BUILD_RUNNING'
  | 'BUILD_SUCCESS'
  | 'BUILD_FAILURE'
  | 'BUILD_CANCELLED'
  | 'BUILD_TIMEOUT'
  | 'BUILD_UNKNOWN';

export interface Build {
  readonly id: string;
  readonly tool: ToolName;
  readonly commit: CommitId;
  readonly deploymentId: string;
  readonly state: BuildState;
  readonly artifact: Artifact | null;
  readonly startedAt: number;
  readonly endedAt: number | null;
}

/**
 * The request of a deployment that builds. With the request and the record of the deployment, the server can continue
 * the deployment after a restart.
 */
export type DeploymentRequest =
  | {
      readonly kind: 'push';
      readonly useCache: boolean;
      /** Lines for `git update-ref --stdin` that move other refs in the same transaction as the branch. */
      readonly withUpdates: readonly string[];
      /** The full name of the branch that the push moves, such as `refs/heads/main`. */
      readonly branchRef: string;
    }
  | { readonly kind: 'redeploy'; readonly useCache: boolean; readonly isRebase?: boolean };

/** A change of a tool's config vars. It has names, never values. */
export interface ConfigChange extends ChangedNames {
  /** The version of the release that made the change. Null if the change was stored without a release. */
  readonly version: number | null;
  readonly by: string;
  /** When the config vars changed, in milliseconds since 1970. */
  readonly at: number;
}

/** A run of a scheduled process that has ended. Times are milliseconds since 1970. */
export interface PastRun {
  /** Identifies the run. Later runs have higher numbers. */
  readonly number: number;
  readonly type: string;
  readonly startedAt: number;
  readonly endedAt: number;
  /** The exit code of the run. Null if a signal or a limit ended the run, or if its result is unknown. */
  readonly exitCode: number | null;
  /** Says how the run ended, for example `exited with code 1`. */
  readonly detail: string | null;
}
