import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noneIfGone } from '../../../core/errors.ts';
import type { ToolName } from '../../../core/names.ts';

/** The name of the file with a tool's user and password for Wikimedia's database replicas. */
export const REPLICA_FILE = 'replica.my.cnf';

export interface ReplicaFile {
  readonly content: Buffer;
  /** TOOL_REPLICA_USER and TOOL_REPLICA_PASSWORD, if the file has them. */
  readonly variables: Readonly<Record<string, string>>;
}

/** Reads `FOLDER/TOOL/replica.my.cnf`. Null if the operator has set no folder, or if the tool has no file. */
export async function readReplicaFile(folder: string | null, tool: ToolName): Promise<ReplicaFile | null> {
  if (folder === null) return null;
  const content = await readFile(join(folder, tool, REPLICA_FILE)).catch(noneIfGone);
  return content === null ? null : { content, variables: replicaVariables(content.toString()) };
}

/** Reads `user` and `password` from the lines of an option file of MariaDB. */
export function replicaVariables(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, key, value = ''] = /^\s*(user|password)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === undefined) continue;
    variables[`TOOL_REPLICA_${key.toUpperCase()}`] = value.replace(/^(["'])(.*)\1$/, '$2');
  }
  return variables;
}
