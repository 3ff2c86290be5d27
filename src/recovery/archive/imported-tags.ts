import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { noneIfGone } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { toolName } from '../../core/names.ts';
import { refNames } from '../../git/refs/ref-files.ts';
import { updateRefs } from '../../git/refs/ref-transaction.ts';
import type { Repositories } from '../../git/repositories.ts';
import type { Store } from '../../store/store.ts';

const NOTE = 'tags.json';

/**
 * The folder for temporary files of exports and imports. It is not in `run`, which the back ends delete at a start, perhaps
 * before `finishTags` has read the notes.
 */
export function transfersFolder(data: string): string {
  return join(data, 'transfers');
}

const note = z.strictObject({
  tool: z.string(),
  tags: z.array(z.strictObject({ ref: z.string(), id: z.string() })),
});

/**
 * Notes durably, in the folder of an import, which tags it will make, before it changes the store. The folder is deleted
 * when the import ends.
 */
export async function noteTags(stage: string, noted: z.infer<typeof note>): Promise<void> {
  await mkdir(stage, { recursive: true, mode: 0o700 });
  await using file = await open(join(stage, NOTE), 'wx', 0o600);
  await file.writeFile(JSON.stringify(noted));
  await file.sync();
}

/**
 * Makes the tags of imports whose server was killed after they had changed the store. Call this at a start, before anybody
 * can push. An import that has not changed the store is forgotten. Then deletes what exports and imports have left.
 *
 * @param run - `transfersFolder`
 */
export async function finishTags(
  { store, repositories, log }: { store: Store; repositories: Repositories; log: Log },
  run: string,
): Promise<void> {
  for (const folder of (await readdir(run).catch(noneIfGone)) ?? []) {
    const path = join(run, folder);
    const text = await readFile(join(path, NOTE), 'utf8').catch(noneIfGone);
    try {
      if (text !== null) await makeNoted({ store, repositories, log }, text);
      await rm(path, { recursive: true, force: true });
    } catch (err) {
      // The folder stays, so the next start tries again.
      log.error(
        { err, tags: text?.slice(0, 10_000) },
        'cannot make the tags of an import that was interrupted',
      );
    }
  }
}

async function makeNoted(
  { store, repositories, log }: { store: Store; repositories: Repositories; log: Log },
  text: string,
): Promise<void> {
  const read = readNote(text);
  const tool = toolName(read?.tool ?? '');
  if (read === null || tool === null || !store.tools().some(({ name }) => name === tool)) return;
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

/** Null if a kill has cut the note short. The import has then not changed the store. */
function readNote(text: string): z.infer<typeof note> | null {
  try {
    return note.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
