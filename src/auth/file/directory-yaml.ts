import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type Document, isMap, isScalar, isSeq, YAMLMap, YAMLSeq } from 'yaml';
import { ConcurrencyLimit, KeyedConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { DeployError, systemCode } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { explain, type PublicKey, readKeyLine } from '../public-key.ts';
import { normalise, userName } from '../user-name.ts';
import { editFile } from './atomic-file.ts';
import {
  type DirectoryData,
  parseDirectory,
  readDirectoryText,
  type ToolEntry,
  withoutAliases,
} from './directory-data.ts';
import { hashPassword } from './password-hash.ts';

export interface UserChange {
  readonly name: string;
  /** Public keys, each as the line of a .pub file. `addUser` skips empty lines and comments. */
  readonly keyLines?: readonly string[];
  readonly password?: string;
}

/** The comment at the top of a new directory.yaml. */
export const HEADER = ` The users of this server, and the tools with their maintainers. Changes of this file take effect at once.
 Edit this file by hand, or with: npx toolforge-push user add NAME, npx toolforge-push tool add NAME --maintainer USER
 To disable a user or a tool, add the line \`disabled: true\`.`;
const NEW_DIRECTORY = `${HEADER.replace(/^/gm, '#')}\n\nusers:\ntools:\n`;

/** The error codes for a directory file that is missing, has an error, or cannot be read or written. */
const UNUSABLE: ReadonlySet<string> = new Set(['NO_DIRECTORY', 'DIRECTORY_BROKEN', 'DIRECTORY_FILE']);

/** The minimum length of a password. NIST SP 800-63B, 5.1.1.2, asks for eight characters of any kind. */
const LEAST_CHARACTERS = 8;

/** The result of `addUser`. */
export interface UserChanged {
  readonly uid: string;
  /** False if the user existed before. */
  readonly isNew: boolean;
  readonly addedKeys: readonly PublicKey[];
  /** Those keys of the change that the user already had. */
  readonly knownKeys: readonly PublicKey[];
  readonly isPasswordSet: boolean;
}

export interface ToolChanged {
  readonly tool: ToolName;
  readonly isNew: boolean;
  readonly addedMaintainers: readonly string[];
}

/**
 * Reads and changes the file of a FileDirectory, for commands. The server may be running. Comments in the file stay.
 * A method that throws a DeployError has changed nothing. The error's hint says what to do.
 */
export class DirectoryFile {
  readonly #path: string;
  readonly #begin: () => Promise<boolean>;
  /** For each tool, one change by a maintainer runs at a time, and two may wait. */
  readonly #changesOf = new KeyedConcurrencyLimit(1, { most: 2, refusal: tooManyChanges });
  /**
   * Only one change by a maintainer runs at a time, over all tools. Parsing the file blocks the server, so a pause
   * follows each change (`#editFor`).
   */
  readonly #changes = new ConcurrencyLimit(1);
  #pause: Promise<unknown> = Promise.resolve();
  /** How long the last change blocked this process, in milliseconds. */
  #tookMs = 0;

  /**
   * @param begin - Called by `addUser`. If no server has ever used the data folder, makes this folder and returns true:
   * `addUser` may then make the file. If a server has used it, returns false: a missing file was lost, and a new file
   * would hide this. By default, returns false.
   */
  constructor(path: string, begin: () => Promise<boolean> = async () => false) {
    this.#path = path;
    this.#begin = begin;
  }

  /** True if directory.yaml has a user with this name. */
  async hasUser(name: string): Promise<boolean> {
    try {
      return (await this.list()).users.has(normalise(name));
    } catch (error) {
      if (error instanceof DeployError && error.code === 'NO_DIRECTORY') return false;
      throw error;
    }
  }

  /**
   * Adds the user, or gives an existing user more keys or another password. If directory.yaml is missing and no server
   * has ever started with its folder, makes the file.
   */
  async addUser(change: UserChange): Promise<UserChanged> {
    const uid = checkedUser(change.name);
    const keys = readKeys(change.keyLines ?? []);
    if (change.password !== undefined && [...change.password].length < LEAST_CHARACTERS) {
      throw refusal(
        'SHORT_PASSWORD',
        `the password has fewer than ${LEAST_CHARACTERS} characters`,
        `Give a longer password. To give a new user a generated password: npx toolforge-push user add ${uid}`,
      );
    }
    const password = change.password === undefined ? null : await hashPassword(change.password);
    const ifMissing = (await this.#begin()) ? NEW_DIRECTORY : null;
    return await this.#edit((document, data) => {
      const known = data.users.get(uid);
      if (known !== undefined && keys.length === 0 && password === null) {
        throw refusal(
          'USER_EXISTS',
          `there is a user ${uid} already`,
          `To give them a key or a password: npx toolforge-push user add ${uid} --key FILE, or --password-stdin`,
        );
      }
      const old = new Set(known?.keys.map((key) => key.blob.toString('base64')));
      const isKnown = (key: PublicKey) => old.has(key.blob.toString('base64'));
      const added = keys.filter((key) => !isKnown(key));
      const entry = entryOf(tableOf(document, 'users'), uid, normalise);
      if (password !== null) entry.set('password', password);
      for (const key of added) listOf(entry, 'keys').add(document.createNode(lineOf(key)));
      return {
        uid,
        isNew: known === undefined,
        addedKeys: added,
        knownKeys: keys.filter(isKnown),
        isPasswordSet: password !== null,
      };
    }, ifMissing);
  }

  /** Removes a user. @returns the tools that the user maintained until then. */
  async removeUser(name: string): Promise<ToolName[]> {
    const uid = checkedUser(name);
    return await this.#edit((document, data) => {
      if (!data.users.has(uid)) throw unknownUser(uid);
      remove(tableOf(document, 'users'), uid);
      const theirs = [...data.tools.values()].filter((tool) => tool.maintainers.has(uid));
      for (const tool of theirs) removeFrom(maintainersOf(document, tool.name), uid);
      return theirs.map((tool) => tool.name);
    });
  }

  /** Adds the tool, or adds maintainers to an existing tool. */
  async addTool(name: string, maintainers: readonly string[]): Promise<ToolChanged> {
    const tool = checkedTool(name);
    const wanted = [...new Set(maintainers.map(checkedUser))];
    return await this.#edit((document, data) => {
      for (const uid of wanted) if (!data.users.has(uid)) throw unknownUser(uid);
      const known = data.tools.get(tool);
      const added = wanted.filter((uid) => !known?.maintainers.has(uid));
      if (known === undefined && wanted.length === 0) {
        throw refusal('NO_MAINTAINER', `the tool ${tool} needs a maintainer`, 'Name one: --maintainer USER.');
      }
      const list = maintainersOf(document, tool);
      for (const uid of added) list.add(document.createNode(uid));
      return { tool, isNew: known === undefined, addedMaintainers: added };
    });
  }

  /**
   * Does what `Maintainers.addMaintainer` promises. The messages of its errors are for maintainers, not for the
   * operator.
   */
  async addMaintainer(tool: ToolName, user: string): Promise<boolean> {
    const uid = checkedUser(user);
    return await this.#editFor(tool, (document, { users }, { maintainers }) => {
      if (maintainers.has(uid)) return false;
      if (!users.has(uid))
        throw refusal(
          'NO_USER',
          `there is no user ${uid}`,
          'Check the name. Somebody who has no account on this server yet can get one from the operator.',
        );
      if (users.get(uid)?.isDisabled === true)
        throw refusal(
          'NO_USER',
          `the user ${uid} is disabled`,
          'Only the operator can let the user log in again.',
        );
      maintainersOf(document, tool).add(document.createNode(uid));
      return true;
    });
  }

  /**
   * Does what `Maintainers.removeMaintainer` promises. The messages of its errors are for maintainers, not for the
   * operator.
   */
  async removeMaintainer(tool: ToolName, user: string): Promise<void> {
    const uid = checkedUser(user);
    await this.#editFor(tool, (document, { users }, { maintainers }) => {
      if (!maintainers.has(uid))
        throw refusal(
          'NOT_A_MAINTAINER',
          `the user ${uid} does not maintain ${tool}`,
          `See who does: \`maintainer list ${tool}\``,
        );
      const isActive = (other: string) => users.get(other)?.isDisabled === false;
      if (![...maintainers].some((other) => other !== uid && isActive(other)))
        throw refusal(
          'LAST_MAINTAINER',
          `nobody else maintains ${tool}, so ${uid} cannot be removed`,
          `First add somebody: \`maintainer add ${tool} USER\`. To end the tool, ask the operator.`,
        );
      removeFrom(maintainersOf(document, tool), uid);
    });
  }

  /** Removes the tool from the directory. Its repository, releases and data stay. */
  async removeTool(name: string): Promise<void> {
    const tool = checkedTool(name);
    await this.#edit((document, data) => {
      if (!data.tools.has(tool)) {
        throw refusal(
          'NO_TOOL',
          `there is no tool ${tool}`,
          'See all tools with: npx toolforge-push tool list',
        );
      }
      remove(tableOf(document, 'tools'), tool);
    });
  }

  /** Gives the tool another name. Does nothing if the directory has no tool `from`, or has a tool `to` already. */
  async renameTool(from: ToolName, to: ToolName): Promise<void> {
    await this.#edit((document, data) => {
      if (!data.tools.has(from) || data.tools.has(to)) return;
      const pair = tableOf(document, 'tools').items.find(
        ({ key }) => String(isScalar(key) ? key.value : key) === from,
      );
      // Change the node of the name instead of replacing it, because a comment above the tool belongs to this node.
      if (isScalar(pair?.key)) pair.key.value = to;
      else if (pair !== undefined) pair.key = document.createNode(to);
    });
  }

  /** All users and tools. */
  async list(): Promise<DirectoryData> {
    return await whereItIs(this.#path, async () => readDirectoryText(await readFile(this.#path, 'utf8')));
  }

  /**
   * Changes the entry of a tool for a maintainer. Errors do not show the path or the lines of the file, which a
   * maintainer may not see. A change blocks this process, so the next change waits three times as long as the last
   * change took.
   *
   * @throws DeployError `NO_TOOL` if the file lacks the tool; `FILE_BUSY` if too many changes of the tool wait, or if
   * the lock of the file is not free within 5 s; `DIRECTORY_UNAVAILABLE` if the file cannot be read or changed.
   */
  async #editFor<T>(
    tool: ToolName,
    change: (document: Document, data: DirectoryData, entry: ToolEntry) => T,
  ): Promise<T> {
    const edit = async () => {
      await this.#pause;
      this.#tookMs = 0;
      try {
        return await this.#edit((document, data) => {
          const entry = data.tools.get(tool);
          if (entry !== undefined) return change(document, data, entry);
          throw refusal('NO_TOOL', `the user directory has no tool ${tool}`, 'Ask the operator to add it.');
        });
      } finally {
        this.#pause = delay(3 * this.#tookMs, null, { ref: false });
      }
    };
    try {
      return await this.#changesOf.run(tool, () => this.#changes.run(edit), new AbortController().signal);
    } catch (error) {
      if (!(error instanceof DeployError) || !UNUSABLE.has(error.code)) throw error;
      throw new DeployError(
        'DIRECTORY_UNAVAILABLE',
        `the user directory of this server cannot be changed (${systemCode(error.cause) ?? error.code})`,
        'Tell the operator: directory.yaml must be valid, and the server must be able to write to its folder.',
        { cause: error },
      );
    }
  }

  async #edit<T>(
    change: (document: Document, data: DirectoryData) => T,
    ifMissing: string | null = null,
  ): Promise<T> {
    const edit = (before: string) => {
      const startedAt = performance.now();
      try {
        return editText(before);
      } finally {
        this.#tookMs = performance.now() - startedAt;
      }
    };
    const editText = (before: string) => {
      const data = readDirectoryText(before);
      const document = withoutAliases(parseDirectory(before));
      const result = change(document, data);
      const after = document.toString({ lineWidth: 0 });
      readDirectoryText(after);
      return { after, result };
    };
    return await whereItIs(this.#path, () => editFile(this.#path, edit, ifMissing));
  }
}

async function whereItIs<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = systemCode(cause);
    if (cause instanceof DeployError || code === null) throw cause;
    if (code !== 'ENOENT') {
      throw new DeployError(
        'DIRECTORY_FILE',
        `the user directory ${path} cannot be read or changed (${code})`,
        'Run the command as the user that the server runs as (sudo -u), and check whether the disk is full or read-only.',
        { cause },
      );
    }
    throw new DeployError(
      'NO_DIRECTORY',
      'there is no user directory yet',
      'Add a user (npx toolforge-push user add NAME), or check the setting data (TOOLFORGE_PUSH_DATA). If a server has run here, see: npx toolforge-push doctor',
      { cause },
    );
  }
}

/** Reads one key per line. Skips empty lines and comments. @throws DeployError `BAD_KEY` if a line is no usable key. */
function readKeys(lines: readonly string[]): PublicKey[] {
  return lines.flatMap((line, index) => {
    if (/^\s*(#|$)/.test(line)) return [];
    const key = readKeyLine(line);
    if (typeof key !== 'string') return [key];
    const { message, hint } = explain(key);
    throw refusal('BAD_KEY', lines.length > 1 ? `line ${index + 1}: ${message}` : message, hint);
  });
}

/** The key as one line: `ssh-ed25519 AAAA… comment`. */
export function lineOf(key: PublicKey): string {
  return `${key.algorithm} ${key.blob.toString('base64')} ${key.comment}`.trimEnd();
}

/** Returns the normalised user name. @throws DeployError `BAD_USER_NAME` if the text cannot be a user name. */
export function checkedUser(name: string): string {
  const uid = userName(name);
  if (uid !== null) return uid;
  throw refusal(
    'BAD_USER_NAME',
    `${JSON.stringify(name.slice(0, 80))} cannot be a user name`,
    'Use at most 64 letters, digits, dots, dashes and underscores. The names git, tool.NAME and tools.NAME are reserved.',
  );
}

/**
 * Returns the text as the name of a tool. @throws DeployError `BAD_TOOL_NAME` if the text cannot be the name of a tool.
 */
export function checkedTool(name: string): ToolName {
  const tool = toolName(name);
  if (tool !== null) return tool;
  throw refusal(
    'BAD_TOOL_NAME',
    `${JSON.stringify(name.slice(0, 80))} cannot be a tool name`,
    'A tool name has at most 63 lower-case letters, digits, - and _. It begins with a letter, and ends with a letter or digit.',
  );
}

function tableOf(document: Document, name: 'users' | 'tools'): YAMLMap {
  if (!isMap(document.contents)) document.contents = new YAMLMap() as typeof document.contents;
  return entryOf(document.contents as unknown as YAMLMap, name);
}

/**
 * Returns the map that `map` has under this key. Applies `spelling` to each key of `map` before the comparison. If
 * `map` lacks the key, or its value is not a map, puts an empty map there.
 */
function entryOf(map: YAMLMap, key: string, spelling = (text: string) => text): YAMLMap {
  const pair = map.items.find(
    (item) => spelling(String(isScalar(item.key) ? item.key.value : item.key)) === key,
  );
  if (isMap(pair?.value)) return pair.value;
  const made = new YAMLMap();
  if (pair === undefined) map.set(key, made);
  else pair.value = made;
  return made;
}

function listOf(map: YAMLMap, key: string): YAMLSeq {
  const value = map.get(key, true);
  if (isSeq(value)) return value;
  const made = new YAMLSeq();
  map.set(key, made);
  return made;
}

function maintainersOf(document: Document, tool: ToolName): YAMLSeq {
  return listOf(entryOf(tableOf(document, 'tools'), tool), 'maintainers');
}

function removeFrom(list: YAMLSeq, uid: string): void {
  list.items = list.items.filter((item) => normalise(String(isScalar(item) ? item.value : item)) !== uid);
}

function remove(map: YAMLMap, key: string): void {
  map.items = map.items.filter(
    (item) => normalise(String(isScalar(item.key) ? item.key.value : item.key)) !== key,
  );
}

function tooManyChanges(): DeployError {
  return refusal(
    'FILE_BUSY',
    'too many other changes of the maintainers of this tool are waiting',
    'Nothing has changed. Try again in a moment.',
  );
}

function unknownUser(uid: string): DeployError {
  return refusal(
    'NO_USER',
    `there is no user ${uid}`,
    `Add the user first: npx toolforge-push user add ${uid}. To see all users: npx toolforge-push user list`,
  );
}

function refusal(code: string, message: string, hint: string): DeployError {
  return new DeployError(code, message, hint);
}
