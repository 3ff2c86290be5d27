import type { ParseArgsOptionsConfig } from 'node:util';
import type { DeployTokens } from '../auth/deploy-tokens.ts';
import type { Directory } from '../auth/directory.ts';
import type { Maintainers } from '../auth/maintainers.ts';
import type { CleanUpHold } from '../core/concurrency/clean-up-hold.ts';
import type { DiskRoom } from '../core/disk/disk-space.ts';
import type { Followers } from '../core/fair-share/followers.ts';
import type { Audit } from '../core/log/audit.ts';
import type { ToolName } from '../core/names.ts';
import type { ToolLimits } from '../core/tool-limits.ts';
import type { Action, Principal } from '../core/types.ts';
import type { Deployments, Previews } from '../deploy/deployments.ts';
import type { SourceArchives } from '../git/archive/source-archives.ts';
import type { ToolTransfers } from '../recovery/archive/tool-transfers.ts';
import type { ToolRenames } from '../recovery/tool-renames.ts';
import type { Runtime, Terminal } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';

/** The services that commands use, for SSH, HTTP and the local socket. */
export interface Services {
  readonly directory: Directory;
  readonly maintainers: Maintainers;
  readonly deployments: Deployments;
  readonly archives: Pick<SourceArchives, 'deploy' | 'download'>;
  readonly previews: Previews;
  readonly renames: Pick<ToolRenames, 'rename'>;
  readonly transfers: Pick<ToolTransfers, 'export' | 'import' | 'deploy'>;
  readonly runtime: Runtime;
  readonly store: Store;
  readonly tokens: DeployTokens;
  readonly audit: Audit;
  readonly followers: Followers;
  readonly cleanUp: CleanUpHold;
  /**
   * The limits that the settings give all tools. They apply to a tool unless the operator has set others for that tool.
   */
  readonly limits: ToolLimits;
  readonly repositoryBytes: (tool: ToolName) => Promise<number>;
  /** The branch whose pushes are deployed, such as `main`. */
  readonly deployBranch: string;
  /** Checks the free space on the disk of the data folder. */
  readonly room: Pick<DiskRoom, 'assertRoom'>;
  /** The addresses in hints, as people reach them: `ssh://HOST:PORT` and `http://HOST:PORT`. */
  readonly addresses: { readonly ssh: string; readonly http: string };
}

/** Turns the words of a command into the line that a person types: `ssh -p 2222 alice@127.0.0.1 logs hello`. */
export type Typed = (words: string) => string;

/** The value of a flag. Undefined if it was not given; a list if it may be repeated. */
export type FlagValue = string | boolean | readonly string[] | undefined;

/** Text, or bytes that are sent unchanged, such as a tar or the output of a process. */
export type Output = string | Uint8Array;

export interface CommandContext {
  readonly services: Services;
  readonly principal: Principal;
  /** The words that are not flags of the command, without the tool. */
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, FlagValue>>;
  /** Standard input, for commands such as `config set NAME -`. Other commands do not read it. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Sends output to the client. Resolves when the client can take more, so await it before you send the next text. */
  readonly out: (text: Output) => Promise<void>;
  readonly err: (text: Output) => Promise<void>;
  /** The terminal of the client. Null if the client has none, or if the command does not take one. */
  readonly terminal: Terminal | null;
  readonly signal: AbortSignal;
  readonly typed: Typed;
}

export interface ToolContext extends CommandContext {
  /** The tool of the command. The person has the right that the command needs (`action`, `actionOf`). */
  readonly tool: ToolName;
}

/** The words that a command takes, and their description for `help`. */
export interface CommandShape {
  /** One word, or two, as in `config set`. */
  readonly name: string;
  /** The words after the name, as `help` shows them: `TOOL [vN]`. */
  readonly usage: string;
  /** One line, without a full stop. */
  readonly summary: string;
  /** More lines for `help COMMAND`, such as the fields of `--json`. */
  readonly details?: readonly string[];
  /** Correct command lines, with `wikibot` as the tool. `help COMMAND` shows them. */
  readonly examples: readonly string[];
  /** A line that says what the exit status means. Absent if the usual line, `EXIT_STATUS`, is true for this command. */
  readonly exitStatus?: string;
  readonly options: ParseArgsOptionsConfig;
  /** How many words the command takes, without flags and the tool. */
  readonly words: { readonly min: number; readonly max: number };
  /**
   * True for a command that `help` does not list: a second name of a command, or a command that only other commands
   * use.
   */
  readonly isAlias?: boolean;
  /** True if the words after the tool are never flags of the command, even if they begin with a dash, as for `run`. */
  readonly isVerbatim?: boolean;
  /** True if only the operator of this server has the command. */
  readonly isForOperator?: boolean;
  /**
   * True if the command takes a file of the caller, or `-`, right after the tool. The local binary replaces the name of
   * the file by `-`, and sends the file as standard input.
   */
  readonly takesFile?: boolean;
  /**
   * True if the command takes a folder of the caller, or `-`. The local binary replaces the name of the folder by `-`,
   * and sends the files of the folder as a tar.
   */
  readonly takesFolder?: boolean;
  /** True if the output is not text. The local binary refuses to print such output to a terminal. */
  readonly isBinary?: boolean;
  /** True if the command can use a terminal. */
  readonly takesTerminal?: boolean;
}

/** What the exit status of a command means, unless the command has an `exitStatus` of its own. */
export const EXIT_STATUS =
  'Exit status: 0 if everything went well, 1 if the command is refused or fails, 2 if the command line is wrong.';

/** A command for one tool. The tool is its first word. */
export interface ToolCommand extends CommandShape {
  readonly action: Action;
  /** True if the audit log keeps the command although `action` is `read`. */
  readonly isAudited?: true;
  /** Returns the right that the command needs with these words after the tool. If not set, it needs `action`. */
  readonly actionOf?: (args: readonly string[]) => Action;
  /** Returns the words that the audit log keeps. If not set, the log keeps all words after the tool, but no flags. */
  readonly audited?: (args: readonly string[], flags: ToolContext['flags']) => readonly string[];
  /** True if the command takes two tools. The local binary then never fills in the tool of the git remote. */
  readonly takesTwoTools?: true;
  /**
   * Decides whether the first word of a line is the tool. True if `word` is no tool but the word after the tool: the
   * tool is then missing. False if `word` is the tool. Absent if the words after the tool can look like names of tools.
   */
  readonly isAfterTool?: (word: string) => boolean;
  /** @returns the exit status. @throws DeployError (exit status 1) or UsageError (2). `runCommand` prints both. */
  run(context: ToolContext): Promise<number>;
}

/** A command that only needs a login. */
export interface LoginCommand extends CommandShape {
  readonly action: null;
  readonly isAfterTool?: undefined;
  readonly takesTwoTools?: undefined;
  /** @returns the exit status. @throws DeployError (exit status 1) or UsageError (2). `runCommand` prints both. */
  run(context: CommandContext): Promise<number>;
}

/** One command. The server serves it in the same way over SSH, HTTP and the local socket. */
export type Command = ToolCommand | LoginCommand;

/** A command line that arrived over SSH, HTTP or the local socket. */
export interface CommandLine {
  readonly services: Services;
  readonly principal: Principal;
  readonly argv: readonly string[];
  readonly input: AsyncIterable<Uint8Array>;
  readonly out: (text: Output) => Promise<void>;
  readonly err: (text: Output) => Promise<void>;
  /** The client's terminal, if it has one and the command `takesTerminal`. */
  readonly terminal?: Terminal;
  readonly signal: AbortSignal;
  /** Receives the code and message of the DeployError that ends the command, before the text is written to `err`. */
  readonly onRefusal?: (code: string, message: string) => void;
}
