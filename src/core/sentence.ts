/**
 * A reason as a sentence of its own: a capital letter, which the `v` of `v41` does not get, and a full stop, which an
 * address does not get.
 */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const first = /^v\d/.test(trimmed) ? trimmed.charAt(0) : trimmed.charAt(0).toUpperCase();
  const isEnded = /[.!?]$|https?:\/\/\S+$/.test(trimmed);
  return `${first}${trimmed.slice(1)}${isEnded ? '' : '.'}`;
}
