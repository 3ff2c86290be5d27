import type { Command } from './command.ts';
import { findCommand } from './command-line/find-command.ts';
import { buildsCommand } from './commands/builds.ts';
import { cancelCommand } from './commands/cancel.ts';
import { configCommands } from './commands/config-command.ts';
import { deploymentsCommand } from './commands/deployments-command.ts';
import { helpCommand } from './commands/help.ts';
import { logsCommand } from './commands/logs.ts';
import { psCommand } from './commands/ps.ts';
import { redeployCommand } from './commands/redeploy.ts';
import { releasesCommand } from './commands/releases.ts';
import { restartCommand } from './commands/restart.ts';
import { rollbackCommand } from './commands/rollback.ts';
import { runOneOffCommand } from './commands/run.ts';
import { scaleCommand } from './commands/scale.ts';
import { stopCommand } from './commands/stop.ts';
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
