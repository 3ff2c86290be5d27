import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Artifact } from '../../../../src/core/types.ts';
import type { ABuilder } from '../../support/a-builder.ts';

/** Builds a tool that has only these files. */
export function buildFiles(builder: ABuilder, files: Readonly<Record<string, string>>): Promise<Artifact> {
  return builder.build(import.meta.dirname, {
    checkOut: async (folder) => {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(folder, path)), { recursive: true });
        await writeFile(join(folder, path), content);
      }
    },
  });
}
