/** The releases of other tools that a promotion made of this release, as in `wikibot v12, other v3`. */
export const promotions = `ALTER TABLE releases ADD COLUMN promoted_to TEXT;`;
