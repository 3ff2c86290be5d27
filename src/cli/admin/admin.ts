import { DeployError } from '../../core/errors.ts';
import type { Audit } from '../../core/log/audit.ts';
import { sentence } from '../../core/text/sentence.ts';
import { warning } from '../command-line/printing.ts';
import { type AdminCommand, type AdminContext, LeftUndone } from './admin-command.ts';
import { toolAdminCommands } from './admin-tools.ts';
import { userAdminCommands } from './admin-users.ts';
import { OPERATOR, type OperatorLine, runOperatorCommand } from './operator-command.ts';

/** The commands on the users and tools in `directory.yaml`. They need no running server, except to revoke tokens. */
export const adminCommands: readonly AdminCommand[] = [...userAdminCommands, ...toolAdminCommands];

export interface AdminLine extends Omit<AdminContext, 'args' | 'flags'>, OperatorLine {
  readonly audit: Audit;
}

/** Runs one of `adminCommands`. @returns the exit status: 1 after a DeployError, 2 for a wrong command line. */
export async function runAdmin(line: AdminLine): Promise<number> {
  try {
    return await runOperatorCommand(adminCommands, line, async (command, { flags, positionals }) => {
      const note = (facts: Readonly<Record<string, unknown>>): void => {
        if (command.name.endsWith(' list')) return;
        line.audit({ what: command.name, who: OPERATOR, tool: null, facts });
      };
      const facts = { words: positionals, flags };
      try {
        await command.run({ ...line, flags, args: positionals });
      } catch (error) {
        if (error instanceof LeftUndone) note({ ...facts, refused: error.code });
        throw error;
      }
      note(facts);
      return 0;
    });
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    await line.err(warning(sentence(error.message), error.hint));
    return 1;
  }
}
