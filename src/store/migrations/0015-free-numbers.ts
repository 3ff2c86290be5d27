/** The numbers of previews that have ended, for later previews. Only previews use them. */
export const freeNumbers = `
CREATE TABLE free_numbers (
  number INTEGER PRIMARY KEY
) STRICT;
`;
