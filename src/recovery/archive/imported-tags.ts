import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { noneIfGone } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { refNames } from '../../git/refs/ref-files.ts';
import { updateRefs } from '../../git/refs/ref-transaction.ts';
import type { Repositories } from '../../git/repositories.ts';
import type { Store } from '../../store/store.ts';

const NOTE = 'tags.json';

/**
 * The folder for temporary files of exports and imports. It is not in `run`, which the back ends delete at a start,
 * perhaps before `finishTags` has read the notes of `noteTags`.
 */
export function transfersFolder(data: string): string {
  return join(data, 'transfers');
}

const note = z.strictObject({
  tool: z.string(),
  tags: z.array(z.strictObject({ ref: z.string(), id: z.string() })),
});

/**
 * Writes to the disk, in the scratch folder of an import, which tags the import will make. If the server is killed
 * after the import has changed the store, `finishTags` makes them. Call this before the import changes the store.
 */
export async function noteTags(stage: string, noted: z.infer<typeof note>): Promise<void> {
  await mkdir(stage, { recursive: true, mode: 0o700 });
  await using file = await open(join(stage, NOTE), 'wx', 0o600);
  await file.writeFile(JSON.stringify(noted));
  await file.sync();
}

/**
 * Makes the tags of each import that had changed the store when the server was killed. Call this at a start, before
 * anybody can push. Deletes the scratch folders of exports and imports, except a folder whose tags could not be made.
 *
 * @param run - The folder that `transfersFolder` returns.
 * @returns the tools whose tags could not be made. Their temporary refs must stay until the next start.
 */
export async function finishTags(
  { store, repositories, log }: { store: Store; repositories: Repositories; log: Log },
  run: string,
): Promise<ReadonlySet<ToolName>> {
  const unfinished = new Set<ToolName>();
  for (const folder of (await readdir(run).catch(noneIfGone)) ?? []) {
    const path = join(run, folder);
    const text = await readFile(join(path, NOTE), 'utf8').catch(noneIfGone);
    try {
      if (text !== null) await makeNoted({ store, repositories, log }, text);
      await rm(path, { recursive: true, force: true });
    } catch (err) {
      const tool = toolName(text === null ? '' : (readNote(text)?.tool ?? ''));
      if (tool !== null) unfinished.add(tool);
      // Keep the scratch folder of this import, so that the next start of the server tries again to make the tags.
      log.error(
        { err, tags: text?.slice(0, 10_000) },
        'cannot make the tags of an import that was interrupted',
      );
    }
  }
  return unfinished;
}

async function makeNoted(
  { store, repositories, log }: { store: Store; repositories: Repositories; log: Log },
  text: string,
): Promise<void> {
  const read = readNote(text);
  const tool = toolName(read?.tool ?? '');
  if (read === null || tool === null || store.recordOf(tool) === null) return;
  const there = new Set(await refNames(repositories, tool, ['refs/tags']));
  const missing = read.tags.filter(({ ref }) => !there.has(ref));
  if (missing.length === 0) return;
  await updateRefs(
    repositories,
    tool,
    missing.map(({ ref, id }) => `create ${ref} ${id}`),
  );
  log.warn({ tool, tags: missing.length }, 'the tags of an import that was interrupted have been made');
}

/** Reads a note of `noteTags`. Null if it is incomplete: the server was killed before the import changed the store. */
function readNote(text: string): z.infer<typeof note> | null {
  try {
    return note.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
