import { Document } from 'yaml';
import { explain, readKeyLine } from '../public-key.ts';
import { createFile } from './atomic-file.ts';
import { checkedTool, checkedUser, HEADER, lineOf } from './directory-yaml.ts';
import { hashPassword } from './password-hash.ts';

export interface FirstDirectory {
  readonly path: string;
  readonly userName: string;
  /** All lines of the .pub files in the user's ~/.ssh. The new file gets only those that are usable SSH keys. */
  readonly keyLines: readonly string[];
  readonly password: string;
  /** The name of a tool that the user maintains. Null if the file gets no tool. */
  readonly toolName: string | null;
}

/** What the first start of the server tells the operator about the new file. */
export interface FirstDirectoryMade {
  readonly uid: string;
  readonly keys: number;
  /** For each line of a .pub file that is not a usable key, and so is not in the new file: a message that says why. */
  readonly leftOut: readonly string[];
}

/**
 * Makes the directory file of a first start, mode 0600.
 *
 * @returns null if the file exists already. The existing file stays unchanged.
 * @throws DeployError `BAD_USER_NAME` or `BAD_TOOL_NAME` if a name is not allowed.
 */
export async function createFirstDirectory(first: FirstDirectory): Promise<FirstDirectoryMade | null> {
  const uid = checkedUser(first.userName);
  const tool = first.toolName === null ? null : checkedTool(first.toolName);
  const lines = first.keyLines.filter((line) => !/^\s*(#|$)/.test(line)).map(readKeyLine);
  const keys = lines.filter((key) => typeof key !== 'string');
  const problems = lines.filter((key) => typeof key === 'string');
  const document = new Document({
    users: { [uid]: { password: await hashPassword(first.password), keys: keys.map(lineOf) } },
    tools: tool === null ? {} : { [tool]: { maintainers: [uid] } },
  });
  document.commentBefore = HEADER;
  const isMade = await createFile(first.path, document.toString({ lineWidth: 0 }));
  return isMade
    ? { uid, keys: keys.length, leftOut: problems.map((problem) => explain(problem).message) }
    : null;
}
