import { open } from 'node:fs/promises';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Directory, DirectoryTool, Identity, OfferedKey } from '../directory.ts';
import { inTime, unavailable } from '../directory-timeout.ts';
import { isHardwareKey } from '../public-key.ts';
import { readLogin } from '../user-name.ts';
import { type DirectoryData, readDirectoryText, type UserEntry } from './directory-data.ts';
import { PasswordCheck } from './password-check.ts';

const LIMIT_MS = 5000;
const MAX_BYTES = 16 * 1024 * 1024;

interface Snapshot extends DirectoryData {
  /** Identifies the version of the file that was read. Each change of the file changes this text. */
  readonly version: string;
  /** For each key (its blob in base64), the people who may log in with it: more than one for a shared key. */
  readonly owners: ReadonlyMap<string, readonly string[]>;
}

/**
 * Reads people and tools from a YAML file, and reads it again when it has changed. The next question after an edit, by
 * hand or by a command, gets the new content.
 */
export class FileDirectory implements Directory {
  readonly #path: string;
  readonly #passwords = new PasswordCheck();
  #snapshot: Snapshot | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  async identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null> {
    const { users, tools, owners } = await this.#read(signal);
    const wanted = readLogin(login);
    if (wanted === null || isHardwareKey(key.algorithm)) return null;
    const holders = owners.get(key.blob.toString('base64')) ?? [];
    const candidates = holders.filter((uid) => {
      if (wanted.kind === 'person') return uid === wanted.uid;
      return wanted.kind === 'anyone' || (tools.get(wanted.tool)?.maintainers.has(uid) ?? false);
    });
    // If several people have this key, and the login name (`git`, or that of a tool) fits more than one of them, refuse
    // the key.
    const [uid, ...others] = candidates;
    if (uid === undefined || others.length > 0 || !users.has(uid)) return null;
    return { uid, onlyTool: null };
  }

  async identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null> {
    if (password === '') return null;
    const { users } = await this.#read(signal);
    const wanted = readLogin(login);
    const user = wanted?.kind === 'person' ? users.get(wanted.uid) : undefined;
    const stored = user === undefined || user.isDisabled ? null : user.password;
    const isRight = await inTime(signal, LIMIT_MS, (limit) => this.#passwords.fits(password, stored, limit));
    return isRight && user !== undefined ? { uid: user.uid, onlyTool: null } : null;
  }

  async findTool(name: ToolName, signal: AbortSignal): Promise<DirectoryTool | null> {
    const { users, tools } = await this.#read(signal);
    const tool = tools.get(name);
    if (tool === undefined) return null;
    // Leave out removed and disabled people, so that they lose their tools at the next check of their rights, even on
    // an open connection.
    const maintainers = [...tool.maintainers].filter((uid) => isActive(users.get(uid)));
    return { name, maintainers: new Set(maintainers), isDisabled: tool.isDisabled };
  }

  async toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]> {
    const { users, tools } = await this.#read(signal);
    if (!isActive(users.get(uid))) return [];
    return [...tools.values()]
      .filter((tool) => tool.maintainers.has(uid))
      .map((tool) => tool.name)
      .sort();
  }

  async close(): Promise<void> {
    this.#snapshot = null;
  }

  async #read(signal: AbortSignal): Promise<Snapshot> {
    return await inTime(signal, LIMIT_MS, async (limit) => {
      await using file = await open(this.#path, 'r');
      const { dev, ino, size, mtimeNs } = await file.stat({ bigint: true });
      const version = `${dev}:${ino}:${size}:${mtimeNs}`;
      if (this.#snapshot?.version === version) return this.#snapshot;
      if (size > MAX_BYTES) throw unavailable('the user directory is too large', null);
      const text = await file.readFile({ encoding: 'utf8', signal: limit });
      this.#snapshot = { ...readData(text), version };
      return this.#snapshot;
    });
  }
}

function isActive(user: UserEntry | undefined): boolean {
  return user !== undefined && !user.isDisabled;
}

function readData(text: string): Omit<Snapshot, 'version'> {
  const data = readOrExplain(text);
  const owners = new Map<string, string[]>();
  for (const user of data.users.values()) {
    if (user.isDisabled) continue;
    for (const blob of new Set(user.keys.map((key) => key.blob.toString('base64')))) {
      owners.set(blob, [...(owners.get(blob) ?? []), user.uid]);
    }
  }
  return { ...data, owners };
}

/**
 * Parses the directory file. If the file has an error, a person who logs in sees only the number of the wrong line. The
 * `cause` tells the operator what is wrong.
 */
function readOrExplain(text: string): DirectoryData {
  try {
    return readDirectoryText(text);
  } catch (cause) {
    const line = cause instanceof DeployError && cause.cause instanceof Object && 'line' in cause.cause;
    const inLine = line ? ` in line ${String((cause.cause as { line: number }).line)}` : '';
    throw unavailable(`the user directory has an error${inLine}`, cause);
  }
}
