/** The first schema. Config vars are encrypted by `SecretsKey`. Artifacts are the type `Artifact` as JSON. */
const first = `
CREATE TABLE facts (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

-- AUTOINCREMENT: a number or a place in the sequence is never given out twice.
CREATE TABLE tools (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  live_version INTEGER,
  last_version INTEGER NOT NULL DEFAULT 0,
  is_stopped INTEGER NOT NULL DEFAULT 0,
  config_vars BLOB
) STRICT;

CREATE TABLE deployments (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  tool TEXT NOT NULL REFERENCES tools (name),
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  "commit" TEXT NOT NULL,
  old_commit TEXT,
  "by" TEXT NOT NULL,
  door TEXT NOT NULL,
  credential TEXT NOT NULL,
  message TEXT,
  version INTEGER,
  reason TEXT,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER
) STRICT;
CREATE INDEX deployments_of_tool ON deployments (tool, sequence);
CREATE INDEX deployments_unfinished ON deployments (sequence)
  WHERE state IN ('waiting', 'building', 'releasing', 'rolling-out');

CREATE TABLE builds (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  tool TEXT NOT NULL REFERENCES tools (name),
  "commit" TEXT NOT NULL,
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  state TEXT NOT NULL,
  artifact TEXT,
  started_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;
CREATE INDEX builds_of_tool ON builds (tool, sequence);
CREATE INDEX builds_of_commit ON builds (tool, "commit", sequence);

CREATE TABLE releases (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  tool TEXT NOT NULL REFERENCES tools (name),
  version INTEGER NOT NULL,
  state TEXT NOT NULL,
  "commit" TEXT NOT NULL,
  artifact TEXT NOT NULL,
  config_vars BLOB NOT NULL,
  description TEXT NOT NULL,
  "by" TEXT NOT NULL,
  credential TEXT NOT NULL,
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  created_at INTEGER NOT NULL,
  UNIQUE (tool, version)
) STRICT;
`;

/** Deploy tokens. `hash` is the SHA-256 of the secret, which itself is not kept. */
const deployTokens = `
CREATE TABLE deploy_tokens (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  tool TEXT NOT NULL REFERENCES tools (name),
  name TEXT NOT NULL,
  scope TEXT NOT NULL,
  "by" TEXT NOT NULL,
  hash BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  last_used_at INTEGER
) STRICT;
CREATE INDEX deploy_tokens_of_tool ON deploy_tokens (tool, sequence);
`;

/**
 * The `DeploymentRequest` of each deployment, as JSON. Null if the server does not need the request after a restart.
 */
const requests = `
ALTER TABLE deployments ADD COLUMN request TEXT;
`;

/**
 * The numbers of processes that `scale` set, as JSON. For a type without a number, the release says how many processes
 * run.
 */
const replicas = `
ALTER TABLE tools ADD COLUMN replicas TEXT NOT NULL DEFAULT '{}';
`;

/** Without these indexes, the deletion of a deployment would read all builds and releases to find references to it. */
const deploymentIndexes = `
CREATE INDEX builds_of_deployment ON builds (deployment_id);
CREATE INDEX releases_of_deployment ON releases (deployment_id);
`;

/** The freezes: tools that accept no deployment that may change what is live. The empty name means all tools. */
const freezes = `
CREATE TABLE freezes (
  tool TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
`;

/**
 * Who changed which config vars, and when. `names` is encrypted JSON: the names that were added, changed and removed.
 * `version` is the release that made the change; NULL if the change was stored without a release.
 */
const configChanges = `
CREATE TABLE config_changes (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  tool TEXT NOT NULL REFERENCES tools (name),
  version INTEGER,
  "by" TEXT NOT NULL,
  names BLOB NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX config_changes_of_tool ON config_changes (tool, sequence);
`;

/**
 * The crashes of live processes, one row for each process of a release, and the maintenance mode of tools. A crash has
 * no foreign key to `releases`, so that a crash can be recorded even if the store has deleted its release.
 */
const runningTools = `
ALTER TABLE tools ADD COLUMN is_in_maintenance INTEGER NOT NULL DEFAULT 0;
CREATE TABLE crashes (
  tool TEXT NOT NULL REFERENCES tools (name),
  version INTEGER NOT NULL,
  process TEXT NOT NULL,
  count INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  words TEXT NOT NULL,
  PRIMARY KEY (tool, version, process)
) STRICT;
`;

/** The process types whose schedules are paused, as JSON, and the scheduled runs that have ended. */
const schedules = `
ALTER TABLE tools ADD COLUMN paused TEXT NOT NULL DEFAULT '[]';
CREATE TABLE scheduled_runs (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  tool TEXT NOT NULL REFERENCES tools (name),
  type TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  exit_code INTEGER,
  detail TEXT,
  UNIQUE (tool, type, started_at)
) STRICT;
CREATE INDEX scheduled_runs_of_tool ON scheduled_runs (tool, sequence);
`;

/** For each release: the releases of other tools that promotions made from it, as in `wikibot v12, other v3`. */
const promotions = `ALTER TABLE releases ADD COLUMN promoted_to TEXT;`;

/** The limits that an operator has set for a tool, as JSON of `ToolLimits`. */
const toolLimits = `ALTER TABLE tools ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';`;

/** The sizes that `scale` has set for the process types of a tool, as JSON of `Sizes`. */
const sizes = `ALTER TABLE tools ADD COLUMN sizes TEXT NOT NULL DEFAULT '{}';`;

/**
 * Previews, which are tools of their own. `preview_of` is the tool that a preview belongs to, and NULL for all other
 * tools. `shared` has the names of the config vars that new previews of a tool get, as JSON. `preview_builds` has the
 * builds of previews that have ended, because they count toward the limit of builds a day.
 */
const previews = `
ALTER TABLE tools ADD COLUMN preview_of TEXT;
ALTER TABLE tools ADD COLUMN preview_at INTEGER;
ALTER TABLE tools ADD COLUMN is_ending INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tools ADD COLUMN shared TEXT NOT NULL DEFAULT '[]';
CREATE TABLE preview_builds (
  tool TEXT NOT NULL,
  started_at INTEGER NOT NULL
) STRICT;
`;

/** The earlier names of tools, so that people who still use an earlier name are told the present name. */
const renames = `
CREATE TABLE renames (
  old TEXT PRIMARY KEY,
  new TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
`;

/** The numbers of previews that have ended. Later previews get these numbers, other tools do not. */
const freeNumbers = `
CREATE TABLE free_numbers (
  number INTEGER PRIMARY KEY
) STRICT;
`;

/**
 * Indexes with everything that the clean-up after a deployment reads, because the records of artifacts in the tables
 * can take hundreds of megabytes. SQLite uses such an index only if a query contains the same expressions as the index.
 * `releases_of_time` is for the sum of the bytes that a tool's releases stored in a day.
 */
const artifactIds = `
CREATE INDEX releases_artifacts ON releases (tool, version, state, "commit", artifact ->> '$.id');
CREATE INDEX releases_of_time ON releases (tool, created_at);
CREATE INDEX builds_with_artifact ON builds (tool, artifact IS NOT NULL, sequence, id);
`;

/** The renames that the store knows, each as a row of the table `facts`: see rename-notes.ts. */
const notedRenames = `
INSERT INTO facts SELECT 'renamed ' || number || ' ' || old || ' ' || at,
  json_object('number', number, 'from', old, 'to', new, 'at', at)
  FROM renames JOIN tools ON tools.name = new;
`;

/**
 * Deletes the requests of ended deployments, except the request of each tool's live release. The server does not need
 * the deleted ones.
 */
const endedRequests = `
UPDATE deployments SET request = NULL WHERE ended_at IS NOT NULL AND id NOT IN (
  SELECT deployment_id FROM releases JOIN tools ON tools.name = releases.tool AND live_version = version
);
`;

/** Entry N, counted from 1, brings a store from schema N-1 to schema N. Never change or remove an entry. */
export const migrations: readonly string[] = [
  first,
  deployTokens,
  requests,
  replicas,
  deploymentIndexes,
  freezes,
  configChanges,
  runningTools,
  schedules,
  promotions,
  toolLimits,
  sizes,
  previews,
  renames,
  freeNumbers,
  artifactIds,
  notedRenames,
  endedRequests,
];
