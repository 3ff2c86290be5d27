/** The first schema. Config vars are encrypted by `SecretsKey`. Artifacts are the type `Artifact` as JSON. */
export const first = `
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
