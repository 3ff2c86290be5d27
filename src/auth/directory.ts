import type { ToolName } from '../core/names.ts';

/** A public key as a client offers it: the algorithm and the blob of RFC 4253 section 6.6. */
export interface OfferedKey {
  readonly algorithm: string;
  readonly blob: Buffer;
}

/** The result of a login: the user, and whether the credential gives access to only one tool. */
export interface Identity {
  /** The user name of the person or of the tool's own account, normalised: lower case, no surrounding space. */
  readonly uid: string;
  /** The only tool that the credential opens. Null if it opens every tool of the person. */
  readonly onlyTool: ToolName | null;
}

export interface DirectoryTool {
  readonly name: ToolName;
  /** The user names of all maintainers of this tool. */
  readonly maintainers: ReadonlySet<string>;
  readonly isDisabled: boolean;
  /** The tool that this tool is a preview of. Absent if it is no preview. */
  readonly previewOf?: ToolName;
}

export interface FindOptions {
  /** True to ask the directory itself, and not use a remembered answer. */
  readonly isFresh?: boolean;
  /**
   * The person on whose behalf the caller asks. With LDAP, only `MAX_AT_ONCE_OF_PERSON` questions for one person run at
   * the same time.
   */
  readonly by?: string | undefined;
  /**
   * True to check a person who already uses the right, for example in an open shell. With LDAP, this question then
   * waits only for other such checks of the same person.
   */
  readonly isWatch?: boolean;
}

/**
 * Knows the people, the tools, and who maintains which tool. Every back end passes test/contracts/directory.ts.
 *
 * A method asks the directory at most two questions. Each question ends within 5 s or when the signal aborts. If the
 * directory cannot answer, the method throws DeployError `DIRECTORY_UNAVAILABLE`, or `DIRECTORY_BUSY` if too many
 * questions wait. It never returns null for these reasons.
 */
export interface Directory {
  /**
   * The identity that this login name and this public key stand for. Null if they stand for nobody. Anybody can offer a
   * public key, so the caller must also verify a signature before it logs the person in.
   */
  identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null>;
  /**
   * The identity behind a login name and a password. Null if they do not match, if the person is disabled, or if the
   * password is empty.
   */
  identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null>;
  /** Returns the tool, or null if no tool has that name. */
  findTool(name: ToolName, signal: AbortSignal, options?: FindOptions): Promise<DirectoryTool | null>;
  /** The tools that the person maintains, sorted by name. */
  toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]>;
  close(): Promise<void>;
}
