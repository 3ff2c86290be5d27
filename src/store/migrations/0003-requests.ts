/** The request of a deployment, as JSON of core/types.ts; null = it is not resumed after a restart. */
export const requests = `
ALTER TABLE deployments ADD COLUMN request TEXT;
`;
