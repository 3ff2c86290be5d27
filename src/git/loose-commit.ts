import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import type { CommitId, ToolName } from '../core/names.ts';
import type { Repositories } from './repositories.ts';

const MAX_BYTES = 64 * 1024;
const inflated = promisify(inflate);

/**
 * Reads a commit's subject from its loose object, which exists after a small push. This saves the 7 ms that starting
 * git takes. Null if the caller must ask git: the object is packed, very long, not a commit, or not in UTF-8.
 *
 * @see https://git-scm.com/book/en/v2/Git-Internals-Git-Objects, "Object Storage"
 */
export async function looseSubject(
  repositories: Repositories,
  tool: ToolName,
  id: CommitId,
): Promise<string | null> {
  const path = join(repositories.folder(tool), 'objects', id.slice(0, 2), id.slice(2));
  const file = await readFile(path).catch(() => null);
  if (file === null || file.length > MAX_BYTES) return null;
  const object = await inflated(file, { maxOutputLength: MAX_BYTES }).catch(() => null);
  const text = object?.toString('utf8') ?? '';
  const end = text.indexOf('\n\n');
  const head = text.slice(0, end);
  if (end < 0 || !/^commit \d+\0tree /.test(head) || head.includes('\nencoding ')) return null;
  const [first = ''] = text
    .slice(end)
    .trim()
    .split(/\n[ \t]*\n/, 1);
  return first.replaceAll('\n', ' ');
}
