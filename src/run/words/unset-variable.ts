/** A name of a variable with at least two words, as in `BOT_TOKEN`, because words in capital letters are often no names. */
const NAME = String.raw`\b(?!ERR_)([A-Z][A-Z\d]*_[A-Z\d_]+)\b`;
const IS_UNSET = String.raw`\b(?:not (?:set|defined|found|provided|configured|specified)|is (?:required|missing|undefined|empty)|must be (?:set|defined|provided)|must not be empty)\b`;
const TO_SET = String.raw`\b(?:[Mm]issing|[Ss]et|[Dd]efine|[Pp]rovide|[Ss]pecify|[Rr]equire[ds]?)\b`;
/** Matches sentences of tools and packages about a variable that is not set, and captures its name. */
const UNSET = new RegExp(`${NAME}.{0,80}${IS_UNSET}|${TO_SET}.{0,80}${NAME}`);
/** Matches the beginning of a list of variables that are not set. */
const UNSET_LIST = /\b(?:missing|invalid|undefined|required) (?:required )?env(?:ironment)? var/i;

/** The variable of which a line says that it is not set. Undefined if the line says this of none. */
export function unsetVariable(line: string): string | undefined {
  const [, first, second] = UNSET.exec(line) ?? [];
  return first ?? second;
}

/** Whether a line says that variables of the environment are not set. */
export function saysUnset(line: string): boolean {
  return UNSET.test(line) || UNSET_LIST.test(line);
}
