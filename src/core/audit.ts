import type { ToolName } from './names.ts';
import type { Principal } from './types.ts';

/** Somebody did something, or was not let in. */
export interface AuditEvent {
  /** `push`, `fetch`, `login refused`, or the name of a command. */
  readonly what: string;
  /** `credential` is null where none was proven; `uid` is then only what was claimed. */
  readonly who: Pick<Principal, 'uid' | 'door' | 'address'> & { readonly credential: string | null };
  readonly tool: ToolName | null;
  /** What belongs to this kind of event. Never a secret. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** Notes an event for good. Throws nothing: where it cannot be written, the operator's log says so. */
export type Audit = (event: AuditEvent) => void;
