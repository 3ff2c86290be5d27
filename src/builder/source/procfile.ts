import { nearest } from '../../core/text/nearest-names.ts';
import { processType } from '../buildpack-api/launch-processes.ts';
import { readIfSmall } from './safe-files.ts';

const MAX_BYTES = 64 * 1024;
/** Matches a command that is wholly in quotes. */
const WHOLLY_QUOTED = /^(?:"[^"]*"|'[^']*')$/;
const line = /^([A-Za-z0-9_-]+):\s*(\S.*)$/;

export interface ReadProcfile {
  /** The command of `web`. Null if the Procfile has none. */
  readonly web: string | null;
  /** The commands by process type. */
  readonly commands: ReadonlyMap<string, string>;
  /** Sentences about lines that will not do what their author expects, with line numbers. */
  readonly warnings: readonly string[];
}

/**
 * Reads the Procfile for warnings, for dry runs, and to show people the command of `web`. The build itself does not use
 * the result: the buildpack `procfile` reads the file again.
 */
export async function readProcfile(source: string): Promise<ReadProcfile> {
  // A Procfile that is too large counts as empty here, because the buildpack `procfile` refuses it with a message.
  const text = await readIfSmall(source, ['Procfile'], MAX_BYTES);
  if (text === null) return { web: null, commands: new Map(), warnings: [] };
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
      const continues = /^\s/.test(raw) && commands.size > 0;
      warnings.push(
        `${procfileLine} is not used: it does not have the form \`web: COMMAND\`.${continues ? ' If it continues the command above, write both on one line.' : ''}`,
      );
    } else if (!processType.test(type)) {
      warnings.push(
        `${procfileLine} is not used: the name ${type} is not allowed. Use only lower-case letters, digits, - and _, and begin with a letter or digit.`,
      );
    } else {
      const earlier = commands.get(type)?.number;
      if (earlier !== undefined) {
        warnings.push(`${procfileLine} replaces line ${earlier}: both define ${type}.`);
      }
      if (WHOLLY_QUOTED.test(command) && /\s/.test(command)) {
        warnings.push(
          `${procfileLine} has quotes around the whole command. Remove them: with them, bash takes the whole command for the name of a program.`,
        );
      }
      if (command.endsWith('\\')) {
        warnings.push(`${procfileLine} ends in a backslash, but a command must be on one line.`);
      }
      commands.set(type, { command, number: index + 1 });
    }
  }
  warnings.push(...misspelt([...commands.keys()]));
  return {
    web: commands.get('web')?.command ?? null,
    commands: new Map([...commands].map(([type, { command }]) => [type, command])),
    warnings,
  };
}

/** Warns of names that look like `web` or `release` with a mistake, because such a process does not start by itself. */
function misspelt(types: readonly string[]): string[] {
  return ['web', 'release']
    .filter((name) => !types.includes(name))
    .flatMap((name) =>
      types
        .filter(
          (type) =>
            letters(type) === letters(name) ||
            // A name that is much longer, such as `websocket`, is no mistake.
            (type.length > 2 && type.length <= name.length + 2 && nearest([name], type).length > 0),
        )
        .map(
          (type) => `The Procfile has a line ${type}, which does not start by itself. Do you mean ${name}?`,
        ),
    );
}

/** The letters of a word in order of the alphabet: the same for `web` and `wbe`. */
function letters(word: string): string {
  return [...word].sort().join('');
}
