import { builderImage } from './images.ts';
import { serverImage } from './installation/images.ts';

// Before the suite: its files run two at a time, and each would make them at once.
for (const make of [builderImage, serverImage]) process.stdout.write(`-----> ${await make()}\n`);
