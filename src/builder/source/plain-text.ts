import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DeployError } from '../../core/errors.ts';
import { isReadByBuilds } from './overlooked-files.ts';
import { listPlainFolder, readStart } from './safe-files.ts';

const MAX_BYTES = 1024 * 1024;
/** At most this many files are read, because a hostile source may have thousands of requirements-NAME.txt. */
const MAX_FILES = 200;
const MAX_SCRIPTS = 200;
const SCRIPT = /^[^.]+$|\.(sh|bash|py|pl|cgi|rb|php)$/;

/**
 * Rewrites files that are UTF-16 or have a byte order mark as UTF-8 without this mark. Does so only for files at the
 * top of the source that builds read. PowerShell's `>` writes UTF-16, which few programs understand. A file that cannot
 * be decoded, or has 1 MiB or more, stays as it is.
 *
 * @returns a sentence for each file that was UTF-16.
 * @throws DeployError `BUILD_CONFLICT` if a file has the marks of a conflict that git could not merge.
 */
export async function rewriteAsUtf8(source: string, files: readonly string[]): Promise<string[]> {
  const warnings: string[] = [];
  for (const name of files.filter(isReadByBuilds).slice(0, MAX_FILES)) {
    const bytes = await readStart(source, [name], MAX_BYTES);
    assertMerged(name, bytes);
    if (bytes.length === MAX_BYTES) continue;
    const encoding = encodingOf(bytes);
    if (encoding === null) continue;
    const text = decoded(bytes, encoding);
    if (text === null) continue;
    await using file = await open(
      join(source, name),
      constants.O_WRONLY | constants.O_TRUNC | constants.O_NOFOLLOW,
    );
    await file.writeFile(text);
    if (encoding !== 'utf-8') {
      warnings.push(
        `${name} is saved as UTF-16. This build converted it to UTF-8. Save the file as UTF-8, because few programs understand UTF-16.`,
      );
    }
  }
  return warnings;
}

function assertMerged(name: string, bytes: Buffer): void {
  // The text is not split into lines, because a million empty lines would block the server.
  const text = bytes.toString('latin1');
  const first = /^<<<<<<< /m.exec(text)?.index;
  if (first === undefined || !/^>>>>>>> /m.test(text.slice(first))) return;
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < first; at = text.indexOf('\n', at + 1)) line += 1;
  throw new DeployError(
    'BUILD_CONFLICT',
    `the file ${name} has the marks of a merge conflict in line ${line}`,
    `Edit ${name}: between <<<<<<< and >>>>>>>, keep the lines that are right. Delete the other lines and the lines with these marks. Commit and push again. If ${name} is a lock file, make it again with its package manager.`,
  );
}

/** Returns the encoding of a text if the text must be written again as plain UTF-8, otherwise null. */
function encodingOf(bytes: Buffer): 'utf-8' | 'utf-16le' | 'utf-16be' | null {
  const [first = 0, second = 0, third = 0] = bytes;
  if (first === 0xef && second === 0xbb && third === 0xbf) return 'utf-8';
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  if (first === 0xfe && second === 0xff) return 'utf-16be';
  // Without a byte order mark, recognise UTF-16 by the NUL byte beside each Latin letter.
  if (bytes.length < 4 || bytes.length % 2 !== 0) return null;
  if (first !== 0 && second === 0 && bytes[3] === 0) return 'utf-16le';
  return first === 0 && second !== 0 && third === 0 ? 'utf-16be' : null;
}

function decoded(bytes: Buffer, encoding: string): string | null {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/**
 * Sentences about scripts, at the top of the source or in bin/, whose first line names a program and ends with CR LF,
 * as on Windows. Linux takes the CR for a part of the program's name.
 */
export async function windowsScripts(source: string): Promise<string[]> {
  const warnings: string[] = [];
  for (const folder of [[], ['bin']]) {
    const entries = await listPlainFolder(source, folder).catch(() => []);
    const scripts = entries.filter(({ name, isFile }) => isFile && SCRIPT.test(name));
    for (const { name } of scripts.slice(0, MAX_SCRIPTS)) {
      const path = [...folder, name];
      const start = (await readStart(source, path, 256)).toString('latin1');
      if (/^#![^\n]*\r\n/.test(start)) {
        warnings.push(
          `${path.join('/')} has Windows line endings (CRLF), so Linux cannot start it. Save it with LF line endings.`,
        );
      }
    }
  }
  return warnings;
}
