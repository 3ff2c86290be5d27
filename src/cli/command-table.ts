import type { Principal } from '../core/types.ts';
import type { Command } from './command.ts';
import { findCommand } from './command-line/find-command.ts';
import { buildsCommand } from './commands/builds.ts';
import { cancelCommand } from './commands/cancel.ts';
import { configCommands } from './commands/config/config-command.ts';
import { deployArchiveCommand, downloadCommand } from './commands/deploy-archive.ts';
import { deploymentsCommand } from './commands/deployments-command.ts';
import { helpCommand } from './commands/help.ts';
import { maintainerCommands } from './commands/maintainer.ts';
import { freezeCommands } from './commands/operator/freeze.ts';
import { holdCleanUpCommand } from './commands/operator/hold-clean-up.ts';
import { limitCommand, quotaCommand } from './commands/operator/limit.ts';
import { transferCommands } from './commands/operator/transfer.ts';
import { previewCommands } from './commands/previews-command.ts';
import { execCommand } from './commands/processes/exec.ts';
import { logsCommand } from './commands/processes/logs.ts';
import { maintenanceCommands } from './commands/processes/maintenance.ts';
import { psCommand } from './commands/processes/ps.ts';
import { restartCommand } from './commands/processes/restart.ts';
import { runOneOffCommand } from './commands/processes/run.ts';
import { scaleCommand } from './commands/processes/scale.ts';
import { scheduleCommands } from './commands/processes/schedule-command.ts';
import { stopCommand } from './commands/processes/stop.ts';
import { promoteCommand } from './commands/promote.ts';
import { redeployCommand } from './commands/redeploy.ts';
import { releasesCommand } from './commands/releases.ts';
import { rollbackCommand } from './commands/rollback.ts';
import { tokenCommands } from './commands/token.ts';
import { toolsCommand } from './commands/tools.ts';

/**
 * All commands of the server, in the order in which `help` lists them. SSH, HTTP and the local socket share the table.
 */
export const commands: readonly Command[] = [
  helpCommand((principal) => commandsFor(principal)),
  toolsCommand,
  psCommand,
  logsCommand,
  deployArchiveCommand,
  downloadCommand,
  releasesCommand,
  rollbackCommand,
  promoteCommand,
  ...previewCommands,
  redeployCommand,
  restartCommand,
  scaleCommand,
  stopCommand,
  ...maintenanceCommands,
  runOneOffCommand,
  execCommand,
  ...scheduleCommands,
  buildsCommand,
  deploymentsCommand,
  cancelCommand,
  ...configCommands,
  ...tokenCommands,
  ...maintainerCommands,
  quotaCommand,
  limitCommand,
  ...freezeCommands,
  holdCleanUpCommand,
  ...transferCommands,
];

/** The commands that this person has: the commands for operators only if they are the operator. */
export function commandsFor({ isOperator }: Pick<Principal, 'isOperator'>): readonly Command[] {
  return isOperator ? commands : commands.filter(({ isForOperator }) => isForOperator !== true);
}

/** Whether the command of this command line can use a terminal. */
export function takesTerminal(argv: readonly string[]): boolean {
  return findCommand(commands, argv)?.command.takesTerminal === true;
}
