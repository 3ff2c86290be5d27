import type { Process, Release, Schedule } from '../core/types.ts';
import { RELEASE_TYPE } from './release-phase.ts';

export interface ScheduledProcess extends Process {
  readonly schedule: Schedule;
}

/** Whether a process is kept running: it is neither the release phase nor scheduled. */
export function staysUp({ type, schedule }: Process): boolean {
  return type !== RELEASE_TYPE && schedule === undefined;
}

/** The processes of a release that run by a schedule. */
export function scheduledIn({ artifact }: Pick<Release, 'artifact'>): readonly ScheduledProcess[] {
  return artifact.processes.filter((process): process is ScheduledProcess => process.schedule !== undefined);
}
