import { builderImage } from './images.ts';
import { builderWithScript, serverImage, slapdImage } from './installation/images.ts';
import { scriptBuilderImage } from './script-builder.ts';

// Before the suite: several of its files run at a time, and each would make them at once.
for (const make of [builderImage, scriptBuilderImage, builderWithScript, serverImage, slapdImage]) {
  process.stdout.write(`-----> ${await make()}\n`);
}
