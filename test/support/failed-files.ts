import type { TestEvent } from 'node:test/reporters';

/**
 * A reporter of `node --test`: writes the path of each file in which a test failed, one on each line.
 *
 * @see https://nodejs.org/docs/latest-v24.x/api/test.html#custom-reporters
 */
export default async function* failedFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files = new Set<string>();
  for await (const { type, data } of events) if (type === 'test:fail' && data.file) files.add(data.file);
  for (const file of files) yield `${file}\n`;
}
