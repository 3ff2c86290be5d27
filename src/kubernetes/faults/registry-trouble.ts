/** A problem of an image registry, as recognised in an error message. */
export type RegistryTrouble = 'full' | 'refused' | 'untrusted' | 'unreachable' | 'failing' | 'missing';

const SIGNS: Readonly<Record<RegistryTrouble, RegExp>> = {
  full: /quota|insufficient storage|\b(413|507)\b/i,
  refused: /unauthorized|denied|forbidden|\b40[13]\b|no basic auth/i,
  untrusted: /x509|certificate/i,
  unreachable:
    /\brefused|no such host|time-?out|timed out|deadline|reset by peer|\bEOF\b|tls:|unreachable|no route/i,
  failing: /\b50[0-9]\b/,
  missing: /not found|manifest unknown|does not exist/i,
};

/**
 * Returns the first problem in `among` that the message names, or null. Ignores names of images, tools, hosts and
 * digests: a tool may be called `quota`, and a digest or a port may contain 403.
 */
export function registryTrouble<T extends RegistryTrouble>(message: string, among: readonly T[]): T | null {
  const said = withoutNames(message);
  return among.find((trouble) => SIGNS[trouble].test(said)) ?? null;
}

function withoutNames(message: string): string {
  return message
    .replaceAll('i/o timeout', 'timeout')
    .replace(/\S*[/@]\S*/g, ' ')
    .replace(/\[[0-9a-f:.]+\](:\d+)?/gi, ' ')
    .replace(/[\w-]+(\.[\w-]+)+(:\d+)?/g, ' ')
    .replace(/[\w-]+:\d+\b/g, ' ')
    .replace(/\b(sha\d+:)?[0-9a-f]{12,}\b/gi, ' ');
}
