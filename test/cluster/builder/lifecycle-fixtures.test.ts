import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fixtures, productBuildpacks, registryEnvironment } from '../../builder/support/a-builder.ts';
import { BothBuilders } from './both-builders.ts';
import { ImageTrees } from './image-trees.ts';

/** The sample tools that are always compared. Each uses buildpacks that the others do not use. */
const always: ReadonlySet<string> = new Set([
  'node-pnpm',
  'perl-psgi',
  'perl-python-node',
  'php-composer',
  'poetry-fastapi',
  'ruby-vendored',
  'uv-flask',
]);

/** The sample tools that the lifecycle cannot build here, with the reason. */
const never: Readonly<Record<string, string>> = {
  'own-buildpack': 'the lifecycle alone does not read project.toml, which names the buildpack of this tool',
};

const skip =
  process.env['TOOLFORGE_PUSH_TEST_ALL_SAMPLES'] === undefined &&
  'TOOLFORGE_PUSH_TEST_ALL_SAMPLES is not set';

describe('the lifecycle and the embedded builder make the same files on the Debian system of the images', {
  concurrency: 1,
}, () => {
  let trees: ImageTrees;
  let both: BothBuilders;
  before(async () => {
    trees = await ImageTrees.mount();
    both = await BothBuilders.open(productBuildpacks, trees);
  });
  after(async () => {
    await both?.[Symbol.asyncDispose]();
    await trees?.[Symbol.asyncDispose]();
  });

  for (const fixture of readdirSync(fixtures)) {
    test(`the CNB lifecycle and the builder for one machine make the same layers for the sample tool ${fixture}`, {
      skip: never[fixture] ?? (always.has(fixture) ? false : skip),
    }, async () => {
      await both.compare(join(fixtures, fixture), registryEnvironment);
    });
  }
});
