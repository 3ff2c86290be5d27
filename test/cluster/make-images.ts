import { scriptBuilderImage } from './builder/script-builder.ts';
import { builderImage } from './images.ts';
import { builderWithScript, serverImage, slapdImage } from './installation/images.ts';

// Runs before the tests in the cluster. Their files run in parallel, and without this, each would make the images.
for (const make of [builderImage, scriptBuilderImage, builderWithScript, serverImage, slapdImage]) {
  process.stdout.write(`-----> ${await make()}\n`);
}
