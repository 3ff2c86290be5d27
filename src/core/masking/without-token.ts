/**
 * Hides the secrets of deploy tokens in a text. The id of each token stays. People type a token by mistake, as a user
 * name (`https://TOKEN:x@HOST`) or as a word of a command (`token revoke TOOL TOKEN`).
 */
export function withoutToken(text: string): string {
  return text.replace(/(tfp_[a-z0-9]{0,10})_[\w-]+/gi, '$1_…');
}
