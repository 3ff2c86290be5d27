import { scriptBuilderImage } from './builder/script-builder.ts';
import { builderImage } from './images.ts';
import { builderWithScript, serverImage, slapdImage } from './installation/images.ts';

// Runs before the suite. Its files run in parallel, and each would otherwise make the images.
for (const make of [builderImage, scriptBuilderImage, builderWithScript, serverImage, slapdImage]) {
  process.stdout.write(`-----> ${await make()}\n`);
}
