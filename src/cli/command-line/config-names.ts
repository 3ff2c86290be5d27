import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';

/** Checks that `vars`, the config vars of the tool, has all `names`. @throws DeployError `NO_CONFIG_VAR` if not. */
export function assertSet(tool: ToolName, vars: Record<string, string>, names: readonly string[]): void {
  const missing = names.filter((name) => !Object.hasOwn(vars, name));
  if (missing.length === 0) return;
  throw new DeployError(
    'NO_CONFIG_VAR',
    `the tool ${tool} has no config var ${oneLine(missing.join(', ')).slice(0, 200)}`,
    `To list the config vars: \`config list ${tool}\``,
  );
}

/** Hides the values in words for the audit log, because some people type `config unset TOOL NAME=value`. */
export function namesOf(args: readonly string[]): string[] {
  return args.map((word) => word.replace(/=.*/s, '=…'));
}
