/**
 * Turns a reason into a sentence: with a capital letter, except for the `v` of `v41`, and with a full stop, except
 * after an address.
 */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const first = /^v\d/.test(trimmed) ? trimmed.charAt(0) : trimmed.charAt(0).toUpperCase();
  const isEnded = /[.!?]$|https?:\/\/\S+$/.test(trimmed);
  return `${first}${trimmed.slice(1)}${isEnded ? '' : '.'}`;
}
