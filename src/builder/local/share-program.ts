// Shares the files of layers. The arguments are the path of the data folder, the number of the tool, and then two for
// each layer: its folder, and the folder of the same layer in an earlier artifact, or an empty word. SIGTERM ends the
// sharing. See `shareLayers`.

import { SharedFiles, sharingBudget } from './shared-files.ts';

const [data = '', toolNumber, ...places] = process.argv.slice(2);
const shared = new SharedFiles(data);
const budget = sharingBudget();
const ended = new AbortController();
process.once('SIGTERM', () => ended.abort());
try {
  for (let index = 0; index < places.length; index += 2) {
    const [layer = '', earlier = ''] = places.slice(index);
    await shared.share(layer, {
      toolNumber: Number(toolNumber),
      earlier: earlier === '' ? null : earlier,
      budget,
      signal: ended.signal,
    });
  }
} catch (error) {
  await shared.sweep();
  throw error;
}
