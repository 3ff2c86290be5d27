import { processType } from '../buildpack-api/launch-processes.ts';
import { readIfSmall } from './safe-files.ts';

const MAX_BYTES = 64 * 1024;
/** Matches a command that is wholly in quotes. */
const WHOLLY_QUOTED = /^(?:"[^"]*"|'[^']*')$/;
const line = /^([A-Za-z0-9_-]+):\s*(\S.*)$/;

export interface ReadProcfile {
  /** The command of `web`. Null if the Procfile has none. */
  readonly web: string | null;
  /** Sentences about lines that will not do what their author expects, with line numbers. */
  readonly warnings: readonly string[];
}

/**
 * Reads the Procfile, only to warn people early and to show them the command of `web`. The buildpack `procfile` reads the
 * file for the build.
 */
export async function readProcfile(source: string): Promise<ReadProcfile> {
  // If the file is too large, the buildpack refuses it with a message.
  const text = await readIfSmall(source, ['Procfile'], MAX_BYTES);
  if (text === null) return { web: null, warnings: [] };
  const warnings: string[] = [];
  const commands = new Map<string, { readonly command: string; readonly number: number }>();
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
    } else {
      const earlier = commands.get(type)?.number;
      if (earlier !== undefined) {
        warnings.push(`${procfileLine} takes the place of line ${earlier}, which is also for ${type}.`);
      }
      if (WHOLLY_QUOTED.test(command) && /\s/.test(command)) {
        warnings.push(
          `${procfileLine} has quotes around the whole command. Remove them, or bash looks for a program of that name.`,
        );
      }
      if (command.endsWith('\\')) {
        warnings.push(`${procfileLine} ends in a backslash, but a command cannot go on in the next line.`);
      }
      commands.set(type, { command, number: index + 1 });
    }
  }
  return { web: commands.get('web')?.command ?? null, warnings };
}
