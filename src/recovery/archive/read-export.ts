import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { DeployError } from '../../core/errors.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import { changeConfigVars } from '../../core/variables/config-changes.ts';
import { ArchiveWork } from '../../git/archive/archive-work.ts';
import { readTar, type TarEntry } from '../../git/archive/read-tar.ts';
import { PARTS } from './export-tool.ts';
import { openText } from './passphrase.ts';
import { assertSealed, badArchive, SEAL_BYTES } from './sealed-file.ts';
import { MAX_MANIFEST_BYTES, parsed, readManifest, secretsOf, type ToolManifest } from './tool-manifest.ts';

/** The most bytes of `secrets.sealed`. The largest config vars that the server accepts need less, even as JSON. */
const MAX_SECRETS_BYTES = 8 * 2 ** 20;
/** The most bytes of an exported file without the objects of git: its other parts, and the blocks of tar. */
export const MAX_OTHER_BYTES = MAX_MANIFEST_BYTES + MAX_SECRETS_BYTES + 2 ** 20;
/** How messages name the exported file, because the server does not know its real name. */
const NAME = 'of the import';

/**
 * The manifest and config vars of an exported file, and the entries that follow them. Only somebody who knows the
 * passphrase can have written this manifest and these config vars.
 */
export interface OpenedExport {
  readonly manifest: ToolManifest;
  readonly configVars: Readonly<Record<string, string>>;
  readonly entries: AsyncGenerator<TarEntry>;
}

/**
 * Compares a file with its seal, and opens its first two parts. Writes nothing.
 *
 * @throws DeployError `BAD_ARCHIVE` if the file is damaged or is no export; `BAD_PASSPHRASE` if the passphrase is
 * wrong, or if somebody has changed the file.
 */
export async function openExport(file: string, passphrase: string): Promise<OpenedExport> {
  await assertSealed(file, 'tool', NAME);
  const bytes = (await stat(file)).size - SEAL_BYTES;
  const content = createReadStream(file, { end: bytes - 1 }) as AsyncIterable<Buffer>;
  // Do not count the time for headers (`ArchiveWork.resume`), because an exported file may have only a few headers.
  const entries = readTar(content, { bytes, headers: PARTS.length + 1 }, new ArchiveWork('import'));
  const head = await bytesOfNext(entries, PARTS[0], MAX_MANIFEST_BYTES);
  const manifest = readManifest(head.toString('utf8'));
  if (manifest === 'newer') throw badExport('a later version of this server made it');
  if (manifest === null) throw badExport('it has no manifest that this server can read');
  const sealed = await bytesOfNext(entries, PARTS[1], MAX_SECRETS_BYTES);
  // The secrets can be decrypted only with the passphrase and the unchanged manifest, which has the digest of the
  // repository. If the decryption succeeds, the maker of the file knew the passphrase, and the digest later shows
  // whether the repository is unchanged too.
  const text = await openText(sealed, head, passphrase);
  if (text === null)
    throw new DeployError(
      'BAD_PASSPHRASE',
      'the passphrase is wrong, or somebody has changed the file',
      'Nothing has changed. Type the passphrase again, or use another copy of the file.',
    );
  const secrets = secretsOf.safeParse(parsed(text)).data;
  if (secrets === undefined) throw badExport('it has config vars that this server does not accept');
  return { manifest, configVars: allowed(secrets.configVars), entries };
}

/**
 * Checks the config vars of an exported file like those of `config set`, because the maker of the file may be hostile.
 */
function allowed(configVars: Readonly<Record<string, string>>): Record<string, string> {
  try {
    return changeConfigVars({}, configVars);
  } catch (error) {
    throw error instanceof DeployError ? badExport(error.message) : error;
  }
}

async function bytesOfNext(entries: AsyncGenerator<TarEntry>, name: string, most: number): Promise<Buffer> {
  const { header, content } = await nextOf(entries, name);
  if (header.size > most) throw badExport(`its ${name} has more than ${mebibytes(most)}`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Returns the next entry, which must be a file named `name`. @throws DeployError `BAD_ARCHIVE` if it is not. */
export async function nextOf(entries: AsyncGenerator<TarEntry>, name: string): Promise<TarEntry> {
  const { value, done } = await entries.next().catch(damaged);
  if (done !== true && value.header.type === 'file' && value.header.name === name) return value;
  throw badExport(`it has no ${name} where one must be`);
}

/** Checks that no entry is left. @throws DeployError `BAD_ARCHIVE` if one is. */
export async function assertEnd(entries: AsyncGenerator<TarEntry>): Promise<void> {
  const { done } = await entries.next().catch(damaged);
  if (done !== true) throw badExport('it has more files than an export');
}

/** Rethrows a DeployError of the tar reader as `BAD_ARCHIVE`. Rethrows every other error unchanged. */
export function damaged(error: unknown): never {
  throw error instanceof DeployError && error.code !== 'BAD_ARCHIVE' ? badExport(error.message) : error;
}

export function badExport(why: string): DeployError {
  return badArchive(NAME, why);
}
