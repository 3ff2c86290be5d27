import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Directory, DirectoryTool, FindOptions, Identity, OfferedKey } from './directory.ts';

/**
 * Adds to a user directory what the store knows about names. Who may do something to a tool may do it to its previews. Who
 * maintains a tool and uses its earlier name is told the new one.
 */
export class PreviewDirectory implements Directory {
  readonly #directory: Directory;
  readonly #previewOf: (name: ToolName) => ToolName | null;

  readonly #renamedTo: (name: ToolName) => ToolName | null;

  /**
   * @param previewOf - Returns the tool that a preview belongs to. Null if the name is that of no preview.
   * @param renamedTo - Returns the present name of the tool that was once called `name`. Null if there is none.
   */
  constructor(
    directory: Directory,
    previewOf: (name: ToolName) => ToolName | null,
    renamedTo: (name: ToolName) => ToolName | null = () => null,
  ) {
    this.#directory = directory;
    this.#previewOf = previewOf;
    this.#renamedTo = renamedTo;
  }

  identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null> {
    return this.#directory.identifyByKey(login, key, signal);
  }

  identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null> {
    return this.#directory.identifyByPassword(login, password, signal);
  }

  /** @throws DeployError `TOOL_RENAMED` to a maintainer of the tool that had this name; the errors of the directory. */
  async findTool(name: ToolName, signal: AbortSignal, options?: FindOptions): Promise<DirectoryTool | null> {
    // A tool that the directory has got under the name of a preview counts only after the preview has ended. Otherwise
    // its maintainers could read the config vars of the preview.
    const previewOf = this.#previewOf(name);
    const found = await this.#directory.findTool(previewOf ?? name, signal, options);
    if (found === null) await this.#tellRenamed(name, signal, options);
    return found === null || previewOf === null ? found : { ...found, name, previewOf };
  }

  async #tellRenamed(name: ToolName, signal: AbortSignal, options?: FindOptions): Promise<void> {
    const now = this.#renamedTo(name);
    if (now === null) return;
    const tool = await this.#directory.findTool(now, signal, options);
    // Strangers get the same answer as for a tool that never was.
    if (options?.by === undefined || tool?.maintainers.has(options.by) !== true) return;
    throw new DeployError(
      'TOOL_RENAMED',
      `the tool ${name} is now called ${now}`,
      `In each clone, change the name in the address (git remote -v): git remote set-url toolforge ADDRESS/${now}.git`,
    );
  }

  async toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]> {
    const names = await this.#directory.toolsOf(uid, signal);
    return names.filter((name) => this.#previewOf(name) === null);
  }

  close(): Promise<void> {
    return this.#directory.close();
  }
}
