import type { ToolName } from '../names.ts';
import type { Principal } from '../types.ts';

/** An action of a person or token, or a refusal. */
export interface AuditEvent {
  /** `push`, `fetch`, `login refused`, or the name of a command. */
  readonly what: string;
  /** `credential` is null if the login failed. `uid` is then only the name that the client claimed. */
  readonly who: Pick<Principal, 'uid' | 'door' | 'address'> & { readonly credential: string | null };
  readonly tool: ToolName | null;
  /** Details of the event. Which details there are depends on `what`. Never a secret. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** Records an event permanently. Never throws: if the event cannot be written, the operator's log says so. */
export type Audit = (event: AuditEvent) => void;
