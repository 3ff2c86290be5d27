/**
 * Escapes the characters that JSON allows in strings, but that could control the terminal of a reader or change the
 * order of the text there: DEL, C1, line separators, direction marks and invisible characters.
 */
export function escapeControls(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
