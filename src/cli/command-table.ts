import type { Command } from './command.ts';
import { findCommand } from './command-line/find-command.ts';
import { buildsCommand } from './commands/builds.ts';
import { cancelCommand } from './commands/cancel.ts';
import { configCommands } from './commands/config-command.ts';
import { deploymentsCommand } from './commands/deployments-command.ts';
import { helpCommand } from './commands/help.ts';
import { logsCommand } from './commands/processes/logs.ts';
import { psCommand } from './commands/processes/ps.ts';
import { restartCommand } from './commands/processes/restart.ts';
import { runOneOffCommand } from './commands/processes/run.ts';
import { scaleCommand } from './commands/processes/scale.ts';
import { stopCommand } from './commands/processes/stop.ts';
import { redeployCommand } from './commands/redeploy.ts';
import { releasesCommand } from './commands/releases.ts';
import { rollbackCommand } from './commands/rollback.ts';
import { tokenCommands } from './commands/token.ts';
import { toolsCommand } from './commands/tools.ts';

/** All commands, in the order in which `help` lists them. SSH, HTTP and the local socket have the same commands. */
export const commands: readonly Command[] = [
  helpCommand(() => commands),
  toolsCommand,
  psCommand,
  logsCommand,
  releasesCommand,
  rollbackCommand,
  redeployCommand,
  restartCommand,
  scaleCommand,
  stopCommand,
  runOneOffCommand,
  buildsCommand,
  deploymentsCommand,
  cancelCommand,
  ...configCommands,
  ...tokenCommands,
];

/** Whether the command of this command line can use a terminal. */
export function takesTerminal(argv: readonly string[]): boolean {
  return findCommand(commands, argv)?.command.takesTerminal === true;
}
