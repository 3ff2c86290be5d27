import type { ToolName } from '../core/names.ts';
import type { Directory, DirectoryTool, FindOptions, Identity, OfferedKey } from './directory.ts';

/** Adds the previews of tools to a user directory: who may do something to a tool may do it to its previews. */
export class PreviewDirectory implements Directory {
  readonly #directory: Directory;
  readonly #previewOf: (name: ToolName) => ToolName | null;

  /** @param previewOf - Returns the tool that a preview belongs to. Null if the name is that of no preview. */
  constructor(directory: Directory, previewOf: (name: ToolName) => ToolName | null) {
    this.#directory = directory;
    this.#previewOf = previewOf;
  }

  identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null> {
    return this.#directory.identifyByKey(login, key, signal);
  }

  identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null> {
    return this.#directory.identifyByPassword(login, password, signal);
  }

  async findTool(name: ToolName, signal: AbortSignal, options?: FindOptions): Promise<DirectoryTool | null> {
    // A tool that the directory has got under the name of a preview counts only after the preview has ended. Otherwise
    // its maintainers could read the config vars of the preview.
    const previewOf = this.#previewOf(name);
    const found = await this.#directory.findTool(previewOf ?? name, signal, options);
    return found === null || previewOf === null ? found : { ...found, name, previewOf };
  }

  async toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]> {
    const names = await this.#directory.toolsOf(uid, signal);
    return names.filter((name) => this.#previewOf(name) === null);
  }

  close(): Promise<void> {
    return this.#directory.close();
  }
}
