import type { CommitId, ToolName } from './names.ts';

/** Who is at a door, after login. */
export interface Principal {
  /** The person's user name, normalised; `operator` for the local binary. */
  readonly uid: string;
  readonly door: 'ssh' | 'http' | 'local';
  /** What they proved themselves with, fit for a log: `ssh ED25519 SHA256:…` or `password`. */
  readonly credential: string;
  /** The address that they came from, without the port; empty for the local binary. */
  readonly address: string;
  /** Set where the credential opens a single tool (a tool's own key or a deploy token). */
  readonly onlyTool: ToolName | null;
  /** The most that the credential lets them do; `manage` where it is their own key or password. */
  readonly scope: Action;
  /** The operator of this server may do everything. */
  readonly isOperator: boolean;
}

/**
 * What a principal wants from a tool; each includes the one before. `read` is clone, fetch, logs and lists; `deploy`
 * changes what is live; `manage` gives access to others.
 */
export type Action = 'read' | 'deploy' | 'manage';

/** A secret that opens one tool over HTTP, for machines; who made it answers for what it does. */
export interface DeployToken {
  /** Ten lower-case letters and digits. */
  readonly id: string;
  readonly tool: ToolName;
  /** `ci`: what its maker calls it. */
  readonly name: string;
  readonly scope: Exclude<Action, 'manage'>;
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number;
  /** To the minute; null = never used. */
  readonly lastUsedAt: number | null;
}

/** One line of a Procfile or launch.toml. */
export interface Process {
  /** Lower-case letters, digits, `-` and `_`; `web` gets PORT and the tool's address. */
  readonly type: string;
  /** The argument list, started without a shell of ours. */
  readonly command: readonly string[];
  readonly isDefault: boolean;
}

/** How the web process is checked and what it may use: from service.template, then the settings. */
export interface ServiceSettings {
  /** The path that answers 200 to 399 when the tool is well; null = the port accepts connections. */
  readonly healthCheckPath: string | null;
  /** Memory of the web process that the tool asks for, in bytes; the operator's limit caps it. */
  readonly memoryBytes?: number;
  /** Web processes that the tool asks for, 1 and up. */
  readonly replicas?: number;
  /** Processor cores that the tool asks for, 0.5 for half of one. */
  readonly cpuCores?: number;
}

/** What a build gives. Immutable once made. */
export interface Artifact {
  /** The id of the build that made it. */
  readonly id: string;
  readonly kind: 'slug' | 'image';
  /** A folder for a slug, `host/name@sha256:…` for an image. */
  readonly reference: string;
  readonly processes: readonly Process[];
  /** Ids of the buildpacks that took part, in order, as `python 3.11.2`. */
  readonly buildpacks: readonly string[];
  readonly service: ServiceSettings;
  readonly bytes: number;
}

/** How many processes run, by process type: `{ web: 2, worker: 0 }`. */
export type Replicas = Readonly<Record<string, number>>;

/** An immutable version of a tool. */
export interface Release {
  readonly tool: ToolName;
  /** 1 for the first; printed as `v1`. */
  readonly version: number;
  readonly commit: CommitId;
  readonly artifact: Artifact;
  readonly configVars: Readonly<Record<string, string>>;
  /** `Deploy 3f2c1ab`, `Rollback to v3`, `Set API_KEY`. */
  readonly description: string;
  readonly by: string;
  readonly credential: string;
  readonly deploymentId: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/**
 * One run of the line: what asked for it. A push and a redeploy build; a rollback, a config change and
 * a restart start from an artifact that is there; a scale changes how many processes of the live release run.
 */
export type DeploymentKind = 'push' | 'redeploy' | 'rollback' | 'config' | 'restart' | 'scale';

/**
 * `waiting` → `building` → `releasing` → `rolling-out` → `live`, or one of the ends that left the old
 * release live. `superseded`: a newer push took its place in the queue.
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
  /** Where the deploy branch stood when it was asked for; null = nowhere yet. */
  readonly oldCommit: CommitId | null;
  readonly by: string;
  readonly door: Principal['door'];
  readonly credential: string;
  /** `-o message=…`, a rollback's target and the like; null = none. */
  readonly message: string | null;
  readonly version: number | null;
  /** One line for the client's report when it did not go live. */
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
 * What a deployment that builds was asked to do: what it takes, beside its record, to enter it again after a restart
 * of the server.
 */
export type DeploymentRequest =
  | {
      readonly kind: 'push';
      readonly useCache: boolean;
      /** Lines of `git update-ref --stdin` that belong to the transaction that moves the branch. */
      readonly withUpdates: readonly string[];
      /** `refs/heads/main` */
      readonly branchRef: string;
    }
  | { readonly kind: 'redeploy'; readonly useCache: boolean };
