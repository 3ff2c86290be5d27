/**
 * Who changed which config vars, and when. `names` is encrypted JSON: the names that were added, changed and removed.
 * `version` is the release that made the change; NULL if the change was stored without a release.
 */
export const configChanges = `
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
