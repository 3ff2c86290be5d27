/** How many processes of each type a tool is to run, as JSON of core/types.ts; a type that is not there has its default. */
export const replicas = `
ALTER TABLE tools ADD COLUMN replicas TEXT NOT NULL DEFAULT '{}';
`;
