/**
 * Indexes with everything that the clean-up after a deployment reads, because the artifacts in the tables can have
 * hundreds of megabytes. A query uses them only if it has the same expressions. `releases_of_time` is for the bytes of
 * a day.
 */
export const artifactIds = `
CREATE INDEX releases_artifacts ON releases (tool, version, state, "commit", artifact ->> '$.id');
CREATE INDEX releases_of_time ON releases (tool, created_at);
CREATE INDEX builds_with_artifact ON builds (tool, artifact IS NOT NULL, sequence, id);
`;
