/** The earlier names of tools, so that people who still use an earlier name are told the present name. */
export const renames = `
CREATE TABLE renames (
  old TEXT PRIMARY KEY,
  new TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
`;
