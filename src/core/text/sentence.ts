/**
 * Shows a message, such as that of a DeployError, as a sentence: adds a capital letter and a full stop. A first word
 * that is not a plain word, such as `v41`, `web.1` or `secrets.key`, stays as it is.
 */
export function sentence(message: string): string {
  const text = message.trim();
  const isPlain = /^[a-z]+(?:[-'’][a-z]+)*[,;:]?(?:\s|$)/.test(text);
  const isEnded = /[.:?!]$|https?:\/\/\S+$/.test(text);
  return `${isPlain ? text.charAt(0).toUpperCase() : text.charAt(0)}${text.slice(1)}${isEnded ? '' : '.'}`;
}
