/** Without these indexes, the deletion of a deployment would read all builds and releases to find references to it. */
export const deploymentIndexes = `
CREATE INDEX builds_of_deployment ON builds (deployment_id);
CREATE INDEX releases_of_deployment ON releases (deployment_id);
`;
