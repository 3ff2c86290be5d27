/** The freezes: tools that accept no deployment that may change what is live. The empty name means all tools. */
export const freezes = `
CREATE TABLE freezes (
  tool TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
`;
