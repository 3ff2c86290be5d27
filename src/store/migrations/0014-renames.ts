/** The earlier names of tools, so that people who still use one are told the new one. */
export const renames = `
CREATE TABLE renames (
  old TEXT PRIMARY KEY,
  new TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
`;
