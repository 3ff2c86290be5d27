/** The `DeploymentRequest` of each deployment, as JSON. Null if the deployment is not resumed after a restart. */
export const requests = `
ALTER TABLE deployments ADD COLUMN request TEXT;
`;
