import { DeployError } from '../../core/errors.ts';
import type { Audit } from '../../core/log/audit.ts';
import { sentence } from '../../core/text/sentence.ts';
import { findCommand } from '../command-line/find-command.ts';
import { checkCount, parseWords } from '../command-line/parse-words.ts';
import { warning } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { describeCommand, typedHere } from '../commands/help.ts';
import { type AdminCommand, type AdminContext, LeftUndone } from './admin-command.ts';
import { toolAdminCommands } from './admin-tools.ts';
import { userAdminCommands } from './admin-users.ts';

/** The commands that administer the embedded directory. They work whether the server is running or not. */
export const adminCommands: readonly AdminCommand[] = [...userAdminCommands, ...toolAdminCommands];

export interface AdminLine extends Omit<AdminContext, 'args' | 'flags'> {
  readonly argv: readonly string[];
  readonly err: (text: string) => Promise<void>;
  readonly audit: Audit;
}

/** @returns the exit status: 1 after a DeployError, 2 for a wrong command line. */
export async function runAdmin({ argv, err, audit, ...rest }: AdminLine): Promise<number> {
  const found = findCommand(adminCommands, argv);
  if (found === null)
    throw new Error('runAdmin was called with a command that is not about the user directory.');
  const { command, words } = found;
  const note = (facts: Readonly<Record<string, unknown>>): void => {
    const who = { uid: 'operator', door: 'local', credential: 'local', address: '' } as const;
    if (!command.name.endsWith(' list')) audit({ what: command.name, who, tool: null, facts });
  };
  try {
    const { flags, positionals } = parseWords(command, words);
    if (flags['help'] === true) {
      await rest.out(describeCommand(command, typedHere));
      return 0;
    }
    checkCount(command, positionals);
    const facts = { words: positionals, flags };
    try {
      await command.run({ ...rest, flags, args: positionals });
    } catch (error) {
      if (error instanceof LeftUndone) note({ ...facts, refused: error.code });
      throw error;
    }
    note(facts);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      const usage = `Usage: npx toolforge-push ${command.name} ${command.usage}`.trimEnd();
      await err(warning(error.message, usage));
      return 2;
    }
    if (!(error instanceof DeployError)) throw error;
    await err(warning(sentence(error.message), error.hint));
    return 1;
  }
}
