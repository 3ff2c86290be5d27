/** The request of a deployment, as JSON of core/types.ts; null = the deployment is not resumed after a restart. */
export const requests = `
ALTER TABLE deployments ADD COLUMN request TEXT;
`;
