/**
 * Matches the name of a variable that has at least two words, such as `BOT_TOKEN`. One word in capital letters is often
 * no name.
 */
const NAME = String.raw`\b(?!ERR_)([A-Z][A-Z\d]*_[A-Z\d_]+)\b`;
const IS_UNSET = String.raw`\b(?:not (?:set|defined|found|provided|configured|specified)|is (?:required|missing|undefined|empty)|must be (?:set|defined|provided)|must not be empty)\b`;
const TO_SET = String.raw`\b(?:[Mm]issing|[Ss]et|[Dd]efine|[Pp]rovide|[Ss]pecify|[Rr]equire[ds]?)\b`;
/** Matches sentences of tools and packages about a variable that is not set, and captures its name. */
const UNSET = new RegExp(`${NAME}.{0,80}${IS_UNSET}|${TO_SET}.{0,80}${NAME}`);
/** Matches the beginning of a list of variables that are not set. */
const UNSET_LIST = /\b(?:missing|invalid|undefined|required) (?:required )?env(?:ironment)? var/i;

/** Returns the variable that, as the line says, is not set. Undefined if the line names no such variable. */
export function unsetVariable(line: string): string | undefined {
  const [, first, second] = UNSET.exec(line) ?? [];
  return first ?? second;
}

/** True if a line says that an environment variable is not set, or begins a list of such variables. */
export function saysUnset(line: string): boolean {
  return UNSET.test(line) || UNSET_LIST.test(line);
}
