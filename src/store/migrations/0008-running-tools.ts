/**
 * The crashes of live processes, one row for each process of a release, and the maintenance mode of tools. A crash has
 * no reference to `releases`, so that a crash that is recorded late never fails.
 */
export const runningTools = `
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
