/** The tools that accept no deployments. The empty name means all tools. */
export const freezes = `
CREATE TABLE freezes (
  tool TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
`;
