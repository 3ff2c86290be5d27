import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { PerToolQueue } from '../core/concurrency/per-tool-queue.ts';
import { endFirst } from '../core/end-first.ts';
import { noneIfGone } from '../core/errors.ts';
import { type ToolName, toolName } from '../core/names.ts';
import { type GitSettings, gitEnvironment, LIMITED_GIT, LOW_PRIORITY } from './git-environment.ts';
import { makeFolders, makeHead, PARTS, writeAttributes } from './repository-layout.ts';
import { RepositoryTurns } from './repository-turns.ts';

/**
 * Matches the temporary name of a repository that `ensure` has not finished. Other names that end with `.new` do not
 * belong to this server.
 */
const HALF_MADE = /\.git\.\d+\.[0-9a-z]+\.new$/;

/**
 * The commands that `Repositories.git` runs without limits, because they need little memory and time, whatever clients
 * have pushed.
 */
const FRUGAL: ReadonlySet<string> = new Set(['for-each-ref', 'pack-refs', 'update-ref']);

/**
 * The commands that `Repositories.git` runs with a low priority, and the programs that they start too, because hostile
 * history makes them busy for minutes. `pack-refs` has the usual priority, because changes of refs wait for it.
 */
const LOW: ReadonlySet<string> = new Set(['fetch', 'gc', 'prune', 'repack']);

/**
 * How many repositories the server checks at the same time when it starts: enough to keep Node's four file threads
 * busy.
 */
export const REPOSITORIES_AT_ONCE = 8;

/** The length of one line in git's file `shallow`: an object id and a line feed. */
const SHALLOW_BYTES = 41;

/** Manages the bare git repositories, at most one for each tool. */
export class Repositories {
  readonly #root: string;
  readonly #path: string;
  readonly #deployBranch: string;
  readonly #marks: Readonly<Record<string, string>>;
  readonly #shared: { readonly name: ToolName; readonly tool: ToolName } | null;
  readonly #changes = new PerToolQueue();
  /**
   * Counts the pushes and copies that use each repository. Other work on a repository, such as merging packs, waits until
   * no push or copy uses it.
   */
  readonly turns = new RepositoryTurns();

  /**
   * @param path - PATH for git and its child processes.
   * @param marks - Environment variables of each git, by which the next start recognises the processes of this server.
   * @param shared - A pair of tools: `name` uses the repository of `tool`. Null, the default, if each tool has its own.
   */
  constructor(options: {
    readonly folder: string;
    readonly path: string;
    readonly deployBranch: string;
    readonly marks?: Readonly<Record<string, string>>;
    readonly shared?: { readonly name: ToolName; readonly tool: ToolName } | null;
  }) {
    this.#root = options.folder;
    this.#path = options.path;
    this.#deployBranch = options.deployBranch;
    this.#marks = options.marks ?? {};
    this.#shared = options.shared ?? null;
  }

  get deployBranch(): string {
    return this.#deployBranch;
  }

  /**
   * Waits for the turn to change the tool's refs. The server's own changes run one at a time, so that the server knows
   * whose lock files it finds. The git of a push takes no turn.
   *
   * @returns a function that ends the turn.
   */
  async takeRefs(tool: ToolName): Promise<() => void> {
    const taken = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    void this.#changes.run(tool, async () => {
      taken.resolve();
      await done.promise;
    });
    await taken.promise;
    return done.resolve;
  }

  folder(tool: ToolName): string {
    return join(this.#root, `${this.#shared?.name === tool ? this.#shared.tool : tool}.git`);
  }

  /**
   * Returns the same repositories, except that `name` uses the repository of `tool`. So a dry run of a push to the
   * preview `name` finds the commit, which only the repository of `tool` has.
   */
  sharing(name: ToolName, tool: ToolName): Repositories {
    return new Repositories({
      ...{ folder: this.#root, path: this.#path, deployBranch: this.#deployBranch, marks: this.#marks },
      shared: { name, tool },
    });
  }

  /**
   * Returns the repositories as git sees them while it receives a push to `tool`: with the objects of the push, which
   * are not stored yet.
   *
   * @param quarantine - The folder with these objects.
   * @param shallowFile - A file in the form of `shallow` of gitrepository-layout(5), which replaces that file. Null if
   * the push has no shallow commits.
   * @see "Quarantine Environment" in git-receive-pack(1)
   */
  during(tool: ToolName, quarantine: string, shallowFile: string | null): Repositories {
    return new Repositories({
      folder: this.#root,
      path: this.#path,
      deployBranch: this.#deployBranch,
      marks: {
        ...this.#marks,
        GIT_OBJECT_DIRECTORY: quarantine,
        GIT_ALTERNATE_OBJECT_DIRECTORIES: join(this.folder(tool), 'objects'),
        ...(shallowFile === null ? {} : { GIT_SHALLOW_FILE: shallowFile }),
      },
    });
  }

  /** True if the tool has a repository, even a damaged one. */
  exists(tool: ToolName): boolean {
    return PARTS.some((part) => existsSync(join(this.folder(tool), part)));
  }

  environment(
    settings: GitSettings = [],
    more: Readonly<Record<string, string>> = {},
  ): Record<string, string> {
    return gitEnvironment(this.#path, settings, { ...this.#marks, ...more });
  }

  /**
   * Returns the folder of the tool's repository, and creates the repository at first use. A crash leaves either a
   * complete repository or none. If the repository has lost a part, such as HEAD, this restores the part.
   */
  async ensure(tool: ToolName): Promise<string> {
    const folder = this.folder(tool);
    if (this.exists(tool)) {
      await this.mend(tool);
      return folder;
    }
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    const made = `${folder}.${process.pid}.${Math.random().toString(36).slice(2)}.new`;
    try {
      await this.#make(made);
      await rename(made, folder);
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      // Go on if the repository exists now: if two first pushes ran at the same time, the other push may have created
      // the repository.
      if (!this.exists(tool)) throw error;
    }
    return folder;
  }

  /** Restores a missing HEAD, `refs` or `objects`, because git does not recognise a repository without them. */
  async mend(tool: ToolName): Promise<void> {
    const folder = this.folder(tool);
    if (!this.exists(tool) || PARTS.every((part) => existsSync(join(folder, part)))) return;
    await makeFolders(folder);
    if (!existsSync(join(folder, 'HEAD'))) await makeHead(folder, this.#deployBranch);
  }

  /** Removes the repositories that a killed server had begun to create. Call this only before the server listens. */
  async removeHalfMade(): Promise<void> {
    const entries = existsSync(this.#root) ? await readdir(this.#root) : [];
    for (const entry of entries.filter((name) => HALF_MADE.test(name)))
      await rm(join(this.#root, entry), { recursive: true, force: true });
  }

  async #make(folder: string): Promise<void> {
    const args = ['--quiet', '--bare', '--template=', `--initial-branch=${this.#deployBranch}`];
    const options = { env: this.environment(), extendEnv: false, stdin: 'ignore' } as const;
    await execa('git', ['init', ...args, folder], options);
    await writeAttributes(folder);
    await chmod(folder, 0o700);
  }

  /**
   * Runs a git command in the tool's repository and returns its standard output, without the last newline.
   *
   * @throws ExecaError if git fails.
   */
  async git(tool: ToolName, args: readonly string[], options: GitRun = {}): Promise<string> {
    const [command = ''] = args;
    const isLimited = !FRUGAL.has(command);
    const more = {
      GIT_DIR: this.folder(tool),
      ...(isLimited ? this.limits : {}),
      ...(LOW.has(command) ? LOW_PRIORITY : {}),
      ...options.more,
    };
    const child = execa('git', args, {
      cwd: this.folder(tool),
      env: this.environment(options.settings, more),
      extendEnv: false,
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
      ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    });
    if (isLimited) endFirst(child.pid);
    return (await child).stdout;
  }

  /**
   * Environment variables that limit the memory and the processor time of a git process. Callers pass them to
   * `environment`.
   */
  get limits(): Readonly<Record<string, string>> {
    return { PATH: `${LIMITED_GIT}:${this.#path}` };
  }

  /** The number of commits at which the tool's history ends, because pushes from shallow clones have cut it off. */
  async shallowEnds(tool: ToolName): Promise<number> {
    const file = await stat(join(this.folder(tool), 'shallow')).catch(noneIfGone);
    return Math.ceil((file?.size ?? 0) / SHALLOW_BYTES);
  }

  /**
   * Lists the tools that have a repository, even a damaged repository. Ignores other entries of the folder, such as
   * lost+found.
   */
  async tools(): Promise<ToolName[]> {
    const entries = existsSync(this.#root) ? await readdir(this.#root) : [];
    return entries.flatMap((entry) => {
      const tool = entry.endsWith('.git') ? toolName(entry.slice(0, -'.git'.length)) : null;
      return tool === null || !this.exists(tool) ? [] : [tool];
    });
  }
}

export interface GitRun {
  readonly settings?: GitSettings;
  readonly more?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly signal?: AbortSignal;
}
