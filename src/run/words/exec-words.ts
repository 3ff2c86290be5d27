import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';

/** The refusal of `exec` if the process does not run at this moment, for example because it has crashed. */
export function notRunning(tool: ToolName, process: string, why: string | null = null): DeployError {
  return new DeployError(
    'NOT_RUNNING',
    `the process ${process} of ${tool} does not run now${why === null ? '' : `: ${why}`}`,
    `See \`ps ${tool}\`, and try again when the process runs. To run a command without the process: \`run ${tool} COMMAND\``,
  );
}

/** The error of `exec` if the process ended before the command, which then ended too. */
export function processEnded(tool: ToolName, process: string): DeployError {
  return new DeployError(
    'PROCESS_ENDED',
    `the process ${process} of ${tool} ended, and the command ended with it`,
    `To see why the process ended: \`logs ${tool} -p ${process}\``,
  );
}

/** The error of `exec` if no agent in the sandbox of the process starts the command in time. */
export function notTaken(tool: ToolName, process: string): DeployError {
  return new DeployError(
    'EXEC_FAILED',
    `the process ${process} of ${tool} does not take the command: the tool may have ended the program in its sandbox that starts commands`,
    `Restart the process (\`restart ${tool}\`), or run the command without the process: \`run ${tool} COMMAND\``,
  );
}
