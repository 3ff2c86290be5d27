import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { mapFew } from '../core/few-at-once.ts';
import { InOrder } from '../core/in-order.ts';
import { type ToolName, toolName } from '../core/names.ts';
import type { SetAside } from '../core/set-aside.ts';
import { type GitSettings, gitEnvironment } from './environment.ts';
import { isHollow, makeFolders, PARTS } from './hollow.ts';
import { type Damaged, setHollowAside, setTornAside } from './torn-refs.ts';

// No attribute of a tool's own tree changes what is checked out: gitattributes(5), the file with the highest precedence.
const ATTRIBUTES = '* -text -eol -ident -filter -working-tree-encoding -export-subst -export-ignore\n';

/** A start looks at so many repositories at the same time: enough to keep Node's four threads for files busy. */
export const REPOSITORIES_AT_ONCE = 8;

/** The bare repositories, one for each tool that has been pushed to. */
export class Repositories {
  readonly #root: string;
  readonly #path: string;
  readonly #deployBranch: string;
  readonly #marks: Readonly<Record<string, string>>;
  readonly #changes = new InOrder();

  /**
   * @param path - PATH for git and what it starts.
   * @param marks - Variables by which the next start knows what this server started.
   */
  constructor(options: {
    readonly folder: string;
    readonly path: string;
    readonly deployBranch: string;
    readonly marks?: Readonly<Record<string, string>>;
  }) {
    this.#root = options.folder;
    this.#path = options.path;
    this.#deployBranch = options.deployBranch;
    this.#marks = options.marks ?? {};
  }

  get deployBranch(): string {
    return this.#deployBranch;
  }

  /**
   * Takes the turn to change refs of the tool: this server does so in one place at a time, so that it knows whose lock
   * files it finds.
   *
   * @returns what gives the turn to the next one.
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
    return join(this.#root, `${tool}.git`);
  }

  exists(tool: ToolName): boolean {
    return existsSync(join(this.folder(tool), 'HEAD'));
  }

  environment(
    settings: GitSettings = [],
    more: Readonly<Record<string, string>> = {},
  ): Record<string, string> {
    return gitEnvironment(this.#path, settings, { ...this.#marks, ...more });
  }

  /** The tool's repository, made whole at its first use: a crash leaves none or a whole one. */
  async ensure(tool: ToolName): Promise<string> {
    const folder = this.folder(tool);
    if (this.exists(tool)) return folder;
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    const made = `${folder}.${process.pid}.${Math.random().toString(36).slice(2)}.new`;
    try {
      await this.#make(made);
      await rename(made, folder);
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      // Two first pushes at once: the other one made it.
      if (!this.exists(tool)) throw error;
    }
    return folder;
  }

  async #make(folder: string): Promise<void> {
    const args = ['--quiet', '--bare', '--template=', `--initial-branch=${this.#deployBranch}`];
    const options = { env: this.environment(), extendEnv: false, stdin: 'ignore' } as const;
    await execa('git', ['init', ...args, folder], options);
    await mkdir(join(folder, 'info'), { recursive: true });
    await writeFile(join(folder, 'info/attributes'), ATTRIBUTES);
    await chmod(folder, 0o700);
  }

  /**
   * Runs a git command in the tool's repository and gives its standard output, without the last newline.
   *
   * @throws ExecaError where git fails.
   */
  async git(tool: ToolName, args: readonly string[], options: GitRun = {}): Promise<string> {
    const { stdout } = await execa('git', args, {
      cwd: this.folder(tool),
      env: this.environment(options.settings, { GIT_DIR: this.folder(tool), ...options.more }),
      extendEnv: false,
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
      ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    });
    return stdout;
  }

  /**
   * At start, before any door is open: removes lock files and half-received objects that a killed server's
   * git processes left, and half-made repositories. Files of refs that are torn are moved to `setAside`, for git
   * changes no ref beside a torn one, and so are whole repositories without objects. Their names are gone then:
   * `readBackReleases` comes first.
   *
   * @param mayBeDamaged - Which repositories to look through for torn refs and lost objects.
   */
  async cleanUp(
    setAside: SetAside,
    mayBeDamaged: (tool: ToolName) => boolean = () => true,
  ): Promise<Damaged[]> {
    const entries = existsSync(this.#root) ? await readdir(this.#root) : [];
    for (const entry of entries.filter((name) => name.endsWith('.new')))
      await rm(join(this.#root, entry), { recursive: true, force: true });
    const damaged = await mapFew(await this.tools(), REPOSITORIES_AT_ONCE, async (tool) => {
      await makeFolders(this.folder(tool));
      await removeLeftovers(this.folder(tool), /\.lock$|^checkout-|^packed-refs\.new$/);
      if (!mayBeDamaged(tool)) return [];
      const torn = await setTornAside(this, tool, setAside);
      return (await isHollow(this, tool)) ? [...torn, await setHollowAside(this, tool, setAside)] : torn;
    });
    return damaged.flat();
  }

  /** Removes what the git of a push left when it was killed. Only while no push is under way. */
  async sweep(tool: ToolName): Promise<void> {
    const letGo = await this.takeRefs(tool);
    try {
      await removeLeftovers(this.folder(tool), /^(shallow|packed-refs)\.lock$|^packed-refs\.new$/);
    } finally {
      letGo();
    }
  }

  /**
   * The tools that have a repository, whole or damaged: one part of it is enough. What else may be in the folder (lost+found, a folder that an
   * operator set aside) is not ours.
   */
  async tools(): Promise<ToolName[]> {
    const entries = existsSync(this.#root) ? await readdir(this.#root) : [];
    return entries.flatMap((entry) => {
      const tool = entry.endsWith('.git') ? toolName(entry.slice(0, -'.git'.length)) : null;
      const isRepository = PARTS.some((name) => existsSync(join(this.#root, entry, name)));
      return tool === null || !isRepository ? [] : [tool];
    });
  }
}

export interface GitRun {
  readonly settings?: GitSettings;
  readonly more?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly signal?: AbortSignal;
}

/** @param own - What to remove at the top of the repository. */
async function removeLeftovers(folder: string, own: RegExp): Promise<void> {
  const top = (await readdir(folder)).filter((name) => own.test(name)).map((name) => join(folder, name));
  const refs = await readdir(join(folder, 'refs'), { recursive: true });
  const locks = refs.filter((name) => name.endsWith('.lock')).map((name) => join(folder, 'refs', name));
  const objects = await readdir(join(folder, 'objects'));
  const quarantines = objects.filter((name) => /^(tmp_objdir-)?incoming-|^tmp_objdir-/.test(name));
  const left = [...top, ...locks, ...quarantines.map((name) => join(folder, 'objects', name))];
  await Promise.all(left.map((path) => rm(path, { recursive: true, force: true })));
}
