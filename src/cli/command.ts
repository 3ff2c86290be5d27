import type { ParseArgsOptionsConfig } from 'node:util';
import type { Directory } from '../auth/directory.ts';
import type { ToolName } from '../core/names.ts';
import type { Action, Principal } from '../core/types.ts';
import type { Deployments } from '../deploy/deployments.ts';
import type { Runtime } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';

/** What commands work with; the same for every door. */
export interface Services {
  readonly directory: Directory;
  readonly deployments: Deployments;
  readonly runtime: Runtime;
  readonly store: Store;
  /** The addresses that hints name: `ssh://HOST:PORT` and `http://HOST:PORT`, as people reach them. */
  readonly addresses: { readonly ssh: string; readonly http: string };
}

export interface CommandContext {
  readonly services: Services;
  readonly principal: Principal;
  /** The tool that the command is about, authorised already; the command table says which have one. */
  readonly tool: ToolName;
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** Standard input, for `config set NAME -` and the like; read only by commands that say so. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Resolves when the reader has taken it: await it, so that a slow reader holds the command back. */
  readonly out: (text: string) => Promise<void>;
  readonly signal: AbortSignal;
}

/** One command, served over SSH, over HTTP and by the local binary alike. */
export interface Command {
  readonly name: string;
  /** `TOOL [vN]` */
  readonly usage: string;
  readonly summary: string;
  /** Null: the command needs login only, and its context has no tool. */
  readonly action: Action | null;
  readonly options: ParseArgsOptionsConfig;
  /** @returns the exit status. @throws DeployError, which the door prints and answers with status 1. */
  run(context: CommandContext): Promise<number>;
}

/** How a door hands over a command line. */
export interface CommandLine {
  readonly services: Services;
  readonly principal: Principal;
  readonly argv: readonly string[];
  readonly input: AsyncIterable<Uint8Array>;
  readonly out: (text: string) => Promise<void>;
  readonly err: (text: string) => Promise<void>;
  readonly signal: AbortSignal;
}
