import type { DirectoryFile } from '../../auth/file/directory-yaml.ts';
import { DeployError } from '../../core/errors.ts';
import type { CommandShape, FlagValue } from '../command.ts';

export interface AdminContext {
  readonly directory: DirectoryFile;
  /** The addresses of a tool for `git remote add`, over SSH and over HTTP: `ssh://alice@127.0.0.1:2222/hello.git`. */
  readonly remotes: (uid: string, tool: string) => readonly string[];
  /**
   * Revokes the deploy tokens of a tool in the running server: all, or only those that the user `by` made.
   *
   * @returns the server's text, empty if `by` has made no token of the tool; null if no server is running.
   * @throws DeployError if the tokens could not be revoked.
   */
  readonly revokeTokens: (tool: string, by?: string) => Promise<string | null>;
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, FlagValue>>;
  readonly input: AsyncIterable<Uint8Array>;
  readonly out: (text: string) => Promise<void>;
}

/** Thrown if a command has done its work except for one part. The message says which part was not done. */
export class LeftUndone extends DeployError {}

/** A command that reads or changes `directory.yaml`. Only people who may access this file can use the command. */
export interface AdminCommand extends CommandShape {
  /** Does the command. @throws DeployError if it is refused or fails; UsageError for a wrong command line. */
  run(context: AdminContext): Promise<void>;
}
