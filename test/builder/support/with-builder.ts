import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { DeployError } from '../../../src/core/errors.ts';
import { ABuilder } from './a-builder.ts';
import { type Sample, SampleBuildpacks } from './sample-buildpacks.ts';

/** A source with one file, `file.txt`, for all tests of a test file. `folder` is the path of the source. */
export function aSource(): { folder: string } {
  const source = { folder: '' };
  before(async () => {
    source.folder = await mkdtemp(join(tmpdir(), 'source-'));
    await writeFile(join(source.folder, 'file.txt'), 'of the tool\n');
  });
  after(() => rm(source.folder, { recursive: true }));
  return source;
}

type Options = NonNullable<Parameters<typeof ABuilder.open>[0]>;

/** Runs with a builder that has these buildpacks, all required. */
export async function withBuilder(
  samples: Readonly<Record<string, Sample>>,
  run: (builder: ABuilder) => Promise<void>,
  options: Options = {},
): Promise<void> {
  await using buildpacks = await SampleBuildpacks.write(samples);
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder, ...options });
  await run(builder);
}

/** For `assert.rejects`: checks that the error is a DeployError with this code, this message and a hint. */
export const failsWith = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof DeployError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  assert.notEqual(error.hint, '');
  return true;
};

/** Lists the artifacts of the tool wikibot. */
export const artifactsOf = (builder: ABuilder) => readdir(join(builder.data, 'artifacts/wikibot'));
