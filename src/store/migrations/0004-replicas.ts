/** The numbers of processes that `scale` set, as JSON of core/types.ts. A type without a number has its default. */
export const replicas = `
ALTER TABLE tools ADD COLUMN replicas TEXT NOT NULL DEFAULT '{}';
`;
