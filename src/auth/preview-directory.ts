import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Directory, DirectoryTool, FindOptions, Identity, OfferedKey } from './directory.ts';

/**
 * A user directory that also knows previews and earlier names of tools, which are in the store. A person with a right
 * to a tool has the same right to the tool's previews. If a maintainer uses a tool's old name, an error names the new
 * name.
 */
export class PreviewDirectory implements Directory {
  readonly #directory: Directory;
  readonly #previewOf: (name: ToolName) => ToolName | null;

  readonly #renamedTo: (name: ToolName) => ToolName | null;
  readonly #reuse: ((name: ToolName) => void) | null;
  /** Names that nobody may use now: the old and the new name of each tool that is being renamed. */
  readonly #held = new Set<ToolName>();

  /**
   * @param previewOf - Returns the tool that a preview belongs to. Null if the name is that of no preview.
   * @param renamedTo - Returns the new name if `name` is the old name of a renamed tool, otherwise null.
   * @param reuse - Forgets that a tool of this name was renamed, so that a new tool can have the name. Null if the user
   * directory keeps the old names of tools, as LDAP does: then only an import can make a tool with an old name.
   */
  constructor(
    directory: Directory,
    previewOf: (name: ToolName) => ToolName | null,
    renamedTo: (name: ToolName) => ToolName | null = () => null,
    reuse: ((name: ToolName) => void) | null = null,
  ) {
    this.#directory = directory;
    this.#previewOf = previewOf;
    this.#renamedTo = renamedTo;
    this.#reuse = reuse;
  }

  identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null> {
    return this.#directory.identifyByKey(login, key, signal);
  }

  identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null> {
    return this.#directory.identifyByPassword(login, password, signal);
  }

  /**
   * Lets nobody use the old and the new name of a tool that is being renamed, until the returned function is called.
   */
  hold(names: readonly ToolName[]): () => void {
    for (const name of names) this.#held.add(name);
    return () => {
      for (const name of names) this.#held.delete(name);
    };
  }

  /**
   * Returns the tool with this name, which may be a preview.
   *
   * @throws DeployError `TOOL_RENAMED` to a maintainer of the tool that had this name; `TOOL_BUSY` while the tool is
   * being renamed, to a maintainer and to the server itself (no `by`); the errors of the directory.
   */
  async findTool(name: ToolName, signal: AbortSignal, options?: FindOptions): Promise<DirectoryTool | null> {
    // While a preview has this name, ask for the preview's tool, even if the user directory has got a tool with this
    // name. Otherwise the maintainers of that tool could read the config vars of the preview.
    const previewOf = this.#previewOf(name);
    const wasRenamed = this.#renamedTo(name) !== null;
    const found = await this.#directory.findTool(previewOf ?? name, signal, options);
    if (found === null) {
      await this.#tellRenamed(name, signal, options);
      return null;
    }
    if (!this.#mayUse(name, wasRenamed, options)) {
      if (options?.by !== undefined && !found.maintainers.has(options.by)) return null;
      throw this.#held.has(name) ? beingRenamed(name) : renamed(name, this.#renamedTo(name) ?? name);
    }
    return previewOf === null ? found : { ...found, name, previewOf };
  }

  /**
   * False if `name` must not be used now. This is so while its tool is being renamed. It is also so if a person (`by`)
   * asks for the old name of a renamed tool, unless the user directory has got a new tool with this name.
   */
  #mayUse(name: ToolName, wasRenamed: boolean, options?: FindOptions): boolean {
    if (this.#held.has(name)) return false;
    if (this.#renamedTo(name) === null) return true;
    // `wasRenamed` is true if the rename came before the question to the user directory. Only then is the answer about
    // a new tool that has got the old name. Otherwise the answer may be about the tool that was renamed.
    if (wasRenamed && this.#reuse !== null) {
      this.#reuse(name);
      return true;
    }
    // Let no person use the old name of a renamed tool. Without `by`, the server itself asks whether the tool exists,
    // for a rename, an import or a preview, and the answer gives nobody access.
    return options?.by === undefined;
  }

  async #tellRenamed(name: ToolName, signal: AbortSignal, options?: FindOptions): Promise<void> {
    const now = this.#renamedTo(name);
    if (now === null) return;
    const tool = await this.#directory.findTool(now, signal, options);
    // Tell only maintainers that the tool was renamed. Strangers get the same answer as for a tool that never existed.
    if (options?.by === undefined || tool?.maintainers.has(options.by) !== true) return;
    throw renamed(name, now);
  }

  async toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]> {
    const names = await this.#directory.toolsOf(uid, signal);
    return names.filter((name) => this.#previewOf(name) === null);
  }

  close(): Promise<void> {
    return this.#directory.close();
  }
}

function renamed(name: ToolName, now: ToolName): DeployError {
  return new DeployError(
    'TOOL_RENAMED',
    `the tool ${name} is now called ${now}`,
    `In each clone, change the name in the address (git remote -v): git remote set-url toolforge ADDRESS/${now}.git`,
  );
}

function beingRenamed(name: ToolName): DeployError {
  return new DeployError(
    'TOOL_BUSY',
    `the tool ${name} is being renamed`,
    'Nothing has changed. Try again in a minute. If the tool is then still being renamed, tell the operators of this server: the log says why.',
  );
}
