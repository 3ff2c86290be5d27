/** What a deployment was asked to do, as JSON of core/types.ts; null = it is not entered again after a restart. */
export const requests = `
ALTER TABLE deployments ADD COLUMN request TEXT;
`;
