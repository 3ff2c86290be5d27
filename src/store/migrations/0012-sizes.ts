/** The sizes that `scale` has set for the process types of a tool, as JSON of `Sizes`. */
export const sizes = `ALTER TABLE tools ADD COLUMN sizes TEXT NOT NULL DEFAULT '{}';`;
