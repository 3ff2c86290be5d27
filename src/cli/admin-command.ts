import type { DirectoryFile } from '../auth/directory-file.ts';
import { DeployError } from '../core/errors.ts';
import type { CommandShape, FlagValue } from './command.ts';

export interface AdminContext {
  readonly directory: DirectoryFile;
  /** The remotes of a tool, as somebody types them. */
  readonly remotes: (uid: string, tool: string) => readonly string[];
  /**
   * Ends every deploy token of a tool, or those that one user made, in the running server.
   *
   * @returns what it says, nothing where that user made none; null where no server runs.
   * @throws DeployError where they are still there.
   */
  readonly revokeTokens: (tool: string, by?: string) => Promise<string | null>;
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, FlagValue>>;
  readonly input: AsyncIterable<Uint8Array>;
  readonly out: (text: string) => Promise<void>;
}

/** The command has done its work, but for this. */
export class LeftUndone extends DeployError {}

/** A command on the embedded directory's file, for whoever may write that file; no door serves it. */
export interface AdminCommand extends CommandShape {
  /** @throws DeployError, UsageError */
  run(context: AdminContext): Promise<void>;
}
