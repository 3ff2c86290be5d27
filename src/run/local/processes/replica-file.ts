import type { Log } from '../../../core/log/log.ts';
import type { ToolName } from '../../../core/names.ts';

/** The name of the file with a tool's user and password for Wikimedia's database replicas. */
export const REPLICA_FILE = 'replica.my.cnf';

export interface ReplicaFile {
  readonly content: string;
  /** The variables TOOL_REPLICA_USER and TOOL_REPLICA_PASSWORD, if `content` has a user and a password. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Reads a plain file below `root` that untrusted code may have made, without following links.
 *
 * @param parts - The parts of the path from `root` to the file, such as `['wikibot', 'replica.my.cnf']`.
 * @returns the text, or null if there is no such file.
 * @throws RangeError if the file is larger than `maxBytes`.
 */
export type ReadPlainFile = (
  root: string,
  parts: readonly string[],
  maxBytes: number,
) => Promise<string | null>;

/** A file `replica.my.cnf` with more bytes than this counts as missing. Usually, it has less than 100 bytes. */
const MAX_BYTES = 64 * 1024;

export interface ReplicaFolder {
  /**
   * The operator's folder, in which a tool may have the file `TOOL/replica.my.cnf`. Null if the operator has set no
   * such folder.
   */
  readonly folder: string | null;
  /** Reads a file without following links: the server may be root, and a tool may own the folder of its file. */
  readonly read: ReadPlainFile;
  readonly log: Pick<Log, 'warn'>;
}

/**
 * Reads `FOLDER/TOOL/replica.my.cnf`. Null if the operator has set no folder, or if the tool has no such plain file. A
 * file of more than `MAX_BYTES` counts as missing, and the log of the server says so.
 */
export async function readReplicaFile(
  { folder, read, log }: ReplicaFolder,
  tool: ToolName,
): Promise<ReplicaFile | null> {
  if (folder === null) return null;
  try {
    const content = await read(folder, [tool, REPLICA_FILE], MAX_BYTES);
    return content === null ? null : { content, variables: replicaVariables(content) };
  } catch (err) {
    if (!(err instanceof RangeError)) throw err;
    log.warn({ err, folder, tool }, 'a tool gets no replica.my.cnf');
    return null;
  }
}

/** Reads `user` and `password` from the lines of an option file of MariaDB. */
export function replicaVariables(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    const key = line.slice(0, Math.max(at, 0)).trim();
    if (key !== 'user' && key !== 'password') continue;
    const value = line.slice(at + 1).trim();
    variables[`TOOL_REPLICA_${key.toUpperCase()}`] = value.replace(/^(["'])(.*)\1$/, '$2');
  }
  return variables;
}
