/** The process types whose schedules are paused, as JSON, and the scheduled runs that have ended. */
export const schedules = `
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
