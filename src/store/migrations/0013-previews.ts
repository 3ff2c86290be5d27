/**
 * Previews, which are tools of their own. `preview_of` is the tool that a preview belongs to, and NULL for all other
 * tools. `shared` has the names of the config vars that new previews of a tool get, as JSON. `preview_builds` has the
 * builds of previews that have ended, because they count for the limit of a day.
 */
export const previews = `
ALTER TABLE tools ADD COLUMN preview_of TEXT;
ALTER TABLE tools ADD COLUMN preview_at INTEGER;
ALTER TABLE tools ADD COLUMN is_ending INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tools ADD COLUMN shared TEXT NOT NULL DEFAULT '[]';
CREATE TABLE preview_builds (
  tool TEXT NOT NULL,
  started_at INTEGER NOT NULL
) STRICT;
`;
