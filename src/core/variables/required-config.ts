import { DeployError } from '../errors.ts';
import type { ToolName } from '../names.ts';
import type { RequiredVar } from '../types.ts';

/**
 * Checks that the config vars that app.json requires are set.
 *
 * @throws DeployError `CONFIG_MISSING` with the name and description of each missing config var, and the command that
 * sets them.
 */
export function assertConfigured(
  tool: ToolName,
  required: readonly RequiredVar[],
  configVars: Readonly<Record<string, string>>,
): void {
  const missing = missingVars(required, configVars);
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  const described = missing.flatMap(({ name, description }) =>
    description === null ? [] : [`\n  ${name}: ${description}`],
  );
  throw new DeployError(
    'CONFIG_MISSING',
    `app.json requires config vars that are not set: ${names.join(', ')}${described.join('')}`,
    `Set them with \`config set ${tool} ${names.map((name) => `${name}=…`).join(' ')}\`, and push again.`,
  );
}

/** Returns the config vars that app.json requires and that are not set. */
export function missingVars(
  required: readonly RequiredVar[],
  configVars: Readonly<Record<string, string>>,
): RequiredVar[] {
  return required.filter(({ name }) => !Object.hasOwn(configVars, name));
}
