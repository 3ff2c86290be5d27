/** The numbers of processes that `scale` set, as JSON. A type without a number runs as often as its release says. */
export const replicas = `
ALTER TABLE tools ADD COLUMN replicas TEXT NOT NULL DEFAULT '{}';
`;
