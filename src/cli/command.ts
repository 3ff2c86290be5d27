import type { ParseArgsOptionsConfig } from 'node:util';
import type { DeployTokens } from '../auth/deploy-tokens.ts';
import type { Directory } from '../auth/directory.ts';
import type { Audit } from '../core/audit.ts';
import type { Followers } from '../core/followers.ts';
import type { ToolName } from '../core/names.ts';
import type { Action, Principal } from '../core/types.ts';
import type { Deployments } from '../deploy/deployments.ts';
import type { Runtime, Terminal } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';

/** What commands work with; the same for every door. */
export interface Services {
  readonly directory: Directory;
  readonly deployments: Deployments;
  readonly runtime: Runtime;
  readonly store: Store;
  readonly tokens: DeployTokens;
  readonly audit: Audit;
  readonly followers: Followers;
  /** The addresses that hints name: `ssh://HOST:PORT` and `http://HOST:PORT`, as people reach them. */
  readonly addresses: { readonly ssh: string; readonly http: string };
}

/** A command with all that is typed around it at this door: `ssh -p 2222 alice@127.0.0.1 logs hello`. */
export type Typed = (words: string) => string;

/** What a flag was given as; undefined = not given. A flag that may be repeated gives a list. */
export type FlagValue = string | boolean | readonly string[] | undefined;

/** Text, or bytes as a process of the tool printed them. */
export type Output = string | Uint8Array;

export interface CommandContext {
  readonly services: Services;
  readonly principal: Principal;
  /** The words that are no flags, without the tool. */
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, FlagValue>>;
  /** Standard input, for `config set NAME -` and the like; read only by commands that say so. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Resolves when the reader has taken it: await it, so that a slow reader holds the command back. */
  readonly out: (text: Output) => Promise<void>;
  readonly err: (text: Output) => Promise<void>;
  /** Null = there is none. */
  readonly terminal: Terminal | null;
  readonly signal: AbortSignal;
  readonly typed: Typed;
}

export interface ToolContext extends CommandContext {
  /** The tool that the command is about, authorised already. */
  readonly tool: ToolName;
}

/** The words of a command line that a command takes, and how `help` tells of them. */
export interface CommandShape {
  /** One word, or two as in `config set`. */
  readonly name: string;
  /** `TOOL [vN]` */
  readonly usage: string;
  /** One line, without a full stop. */
  readonly summary: string;
  /** More lines for `help COMMAND`: the fields of `--json` and the like. */
  readonly details?: readonly string[];
  readonly options: ParseArgsOptionsConfig;
  /** How many words it takes beside flags and tool. */
  readonly words: { readonly min: number; readonly max: number };
  /** True for a second name that `help` does not list. */
  readonly isAlias?: boolean;
  /** True where all words after the tool are the command's own, whatever they begin with. */
  readonly isVerbatim?: boolean;
  /** True where it has a use for a terminal. */
  readonly takesTerminal?: boolean;
}

/** A command about one tool, which is its first word. */
export interface ToolCommand extends CommandShape {
  readonly action: Action;
  /** What it takes with these words after the tool, where that is more than `action`. */
  readonly actionOf?: (args: readonly string[]) => Action;
  /** What the audit log keeps of the words after the tool; all of them where not set. */
  readonly audited?: (args: readonly string[]) => readonly string[];
  /** @returns the exit status. @throws DeployError, which the door prints and answers with status 1. */
  run(context: ToolContext): Promise<number>;
}

/** A command that needs login only. */
export interface LoginCommand extends CommandShape {
  readonly action: null;
  /** @returns the exit status. @throws DeployError, as above. */
  run(context: CommandContext): Promise<number>;
}

/** One command, served over SSH, over HTTP and by the local binary alike. */
export type Command = ToolCommand | LoginCommand;

/** How a door hands over a command line. */
export interface CommandLine {
  readonly services: Services;
  readonly principal: Principal;
  readonly argv: readonly string[];
  readonly input: AsyncIterable<Uint8Array>;
  readonly out: (text: Output) => Promise<void>;
  readonly err: (text: Output) => Promise<void>;
  /** Only for a command that `takesTerminal`, where the client has one. */
  readonly terminal?: Terminal;
  readonly signal: AbortSignal;
  /** Told the code and message of the DeployError that ends the command, before its words go to `err`. */
  readonly onRefusal?: (code: string, message: string) => void;
}
