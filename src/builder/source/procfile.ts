import { processType } from '../buildpack-api/launch-processes.ts';
import { namesIn } from '../folders.ts';
import { readIfSmall } from './safe-files.ts';

const MAX_BYTES = 64 * 1024;
/** Matches a file name that was probably meant as `Procfile`: `procfile`, `PROCFILE`, `Procfile.txt`. */
const misspelt = /^procfile(\.(txt|yml|yaml))?$/i;
const line = /^([A-Za-z0-9_-]+):\s*(\S.*)$/;

/**
 * Sentences about lines of the Procfile that will not do what their author expects, with line numbers. They only warn
 * early. The procfile buildpack reads the file for the build.
 */
export async function procfileWarnings(source: string): Promise<string[]> {
  // If the file is too large, the buildpack refuses it with a message.
  const text = await readIfSmall(source, ['Procfile'], MAX_BYTES);
  if (text === null) {
    const sentence = misspeltProcfile(await namesIn(source));
    return sentence === null ? [] : [`${sentence}.`];
  }
  const warnings: string[] = [];
  const seen = new Set<string>();
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const content = raw.trim();
    if (content === '' || content.startsWith('#')) continue;
    const procfileLine = `Line ${index + 1} of the Procfile`;
    const [, type, command] = line.exec(content) ?? [];
    if (type === undefined || command === undefined) {
      warnings.push(`${procfileLine} is not used: it is not of the form \`web: COMMAND\`.`);
    } else if (!processType.test(type)) {
      warnings.push(
        `${procfileLine} is not used: ${type} is no process type (lower-case letters, digits, - and _).`,
      );
    } else if (seen.has(type)) {
      warnings.push(`${procfileLine} takes the place of an earlier line for ${type}.`);
    } else {
      seen.add(type);
    }
  }
  return warnings;
}

/** A sentence, without a full stop, about a file that was probably meant as the Procfile; null if there is a Procfile, or no file looks like one. */
export function misspeltProcfile(files: readonly string[]): string | null {
  const name = files.includes('Procfile') ? undefined : files.find((file) => misspelt.test(file));
  return name === undefined ? null : `${name} is not used: rename it to Procfile, with that spelling`;
}
