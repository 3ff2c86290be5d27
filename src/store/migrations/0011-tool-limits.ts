/** The limits that an operator has set for a tool, as JSON of `ToolLimits`. */
export const toolLimits = `ALTER TABLE tools ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';`;
