import { parse } from 'yaml';
import { z } from 'zod';
import type { ServiceSettings } from '../core/types.ts';
import { readPlainFile } from './safe-files.ts';

const file = 'service.template';
const maxBytes = 64 * 1024;

/** Keys of Toolforge's `webservice`; those that this server has no use for are accepted as they are. */
const knownKeys: ReadonlySet<string> = new Set([
  'type',
  'health-check-path',
  'mount',
  'replicas',
  'cpu',
  'mem',
  'backend',
  'release',
  'buildservice-image',
  'extra_args',
]);

const template = z.looseObject({
  'health-check-path': z
    .string()
    .regex(/^\/[\x21-\x7e]{0,1023}$/, 'it must begin with / and hold no space')
    .optional(),
});

/**
 * What the source says about its web process, and sentences about what in the file is not understood. A file
 * that cannot be used is a warning too: the tool runs with the settings of everyone.
 *
 * @see https://wikitech.wikimedia.org/wiki/Help:Toolforge/Web
 */
export async function readServiceTemplate(
  source: string,
): Promise<{ settings: ServiceSettings; warnings: string[] }> {
  const settings: ServiceSettings = { healthCheckPath: null };
  let content: unknown;
  try {
    const text = await readPlainFile(source, [file], maxBytes);
    if (text === null) return { settings, warnings: [] };
    // Few aliases: a short file must not unfold into gigabytes.
    content = parse(text, { maxAliasCount: 20, logLevel: 'error' }) ?? {};
  } catch {
    return { settings, warnings: [`${file} is not valid YAML and is not used.`] };
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    return { settings, warnings: [`${file} must hold lines of \`key: value\` and is not used.`] };
  }
  const unknown = Object.keys(content).filter((key) => !knownKeys.has(key));
  const warnings =
    unknown.length === 0
      ? []
      : [
          `${file} contains unknown keys: ${unknown.slice(0, 10).join(', ')}. Known are: ${[...knownKeys].join(', ')}.`,
        ];
  const parsed = template.safeParse(content);
  if (!parsed.success) {
    const why = parsed.error.issues.map((issue) => issue.message).join('; ');
    return { settings, warnings: [...warnings, `health-check-path of ${file} is not used: ${why}.`] };
  }
  return { settings: { healthCheckPath: parsed.data['health-check-path'] ?? null }, warnings };
}
