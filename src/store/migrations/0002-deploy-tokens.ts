/** Deploy tokens. `hash` is the SHA-256 of the secret, which itself is not kept. */
export const deployTokens = `
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
