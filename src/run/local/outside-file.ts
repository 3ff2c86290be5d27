import { constants, existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { parseEnvFile } from '../../core/variables/env-file.ts';
import {
  NOTHING_OUTSIDE,
  type OutsideVars,
  readOutsideVars,
  unusable,
} from '../../core/variables/outside-vars.ts';

/**
 * The largest size of an operator's file with the config vars of a tool. This is twice as many bytes as all config vars
 * of a tool may have, because the file also has quotes, escapes and comments.
 */
const MAX_BYTES = 1024 * 1024;

/**
 * Reads the config vars of a tool from outside: from `FOLDER/TOOL.env`, a file of the operator. Returns no config vars
 * if the tool has no such file, or if `folder` is null.
 *
 * @throws DeployError `OUTSIDE_CONFIG` if the folder is missing, or if the file cannot be opened, is no plain file, is
 * a link, can be read or changed by other users, can be changed by its group, is larger than `MAX_BYTES` or is
 * malformed.
 */
export async function readOutsideFile(folder: string | null, tool: ToolName): Promise<OutsideVars> {
  if (folder === null || toolName(tool) === null) return NOTHING_OUTSIDE;
  const name = `${tool}.env`;
  const source = `the operator’s file ${name}`;
  await using file = await opened(join(folder, name), source);
  if (file !== null) {
    const text = await textOf(file, source);
    return readOutsideVars(source, () => parseEnvFile(text));
  }
  // If the folder is missing, for example because it is not mounted, throw an error. Otherwise the tool would run
  // without its config vars.
  if (!existsSync(folder)) throw unusable(source, 'its folder does not exist');
  return { source, vars: {} };
}

async function opened(path: string, source: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return null;
    throw unusable(source, code === 'ELOOP' ? 'it is a symbolic link' : `it cannot be read (${code})`, error);
  }
}

async function textOf(file: FileHandle, source: string): Promise<string> {
  const stat = await file.stat();
  if (!stat.isFile()) throw unusable(source, 'it is not a plain file');
  if ((stat.mode & 0o027) !== 0)
    throw unusable(
      source,
      'other users may read or change it, or its group may change it, so it needs chmod 600 or 640',
    );
  if (stat.size > MAX_BYTES) throw unusable(source, `it is larger than ${MAX_BYTES / 1024} KiB`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile());
  } catch (error) {
    throw error instanceof TypeError ? unusable(source, 'it is not UTF-8 text', error) : error;
  }
}
