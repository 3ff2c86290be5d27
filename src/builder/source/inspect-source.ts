import type { Process } from '../../core/types.ts';
import type { Inspection } from '../builder.ts';
import { assertRunnable, requestedProcesses } from './components.ts';
import type { PreparedSource } from './prepared-source.ts';

/**
 * Says, without a build, what a source asks for: the processes of its files, with the precedence that a build uses.
 *
 * @throws DeployError `TOO_MANY_PROCESSES` or `COMMANDS_TOO_LONG`, as the build would: see `assertRunnable`.
 */
export function inspectSource(source: PreparedSource, mostTypes: number): Inspection {
  const named: Process[] = [...source.procfile].map(([type, command]) => ({
    type,
    command: ['bash', '-c', command],
    isDefault: false,
  }));
  // Drops the warnings about components, because some depend on the processes that only the build will define.
  const { processes, service } = requestedProcesses(named, source, () => undefined);
  if (processes.length > 0) assertRunnable(processes, mostTypes);
  return { processes, service, variables: source.variables ?? {}, secrets: source.secrets ?? [] };
}
