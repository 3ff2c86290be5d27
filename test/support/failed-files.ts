import type { TestEvent } from 'node:test/reporters';

/**
 * A reporter of `node --test`: writes the path of each file whose run had a failed test, or that failed as a whole, one
 * on each line. The event of a single failed test does not show which file that was: it names the module that defines
 * the test, and several files may import that module.
 *
 * @see https://nodejs.org/docs/latest-v24.x/api/test.html#event-testsummary
 */
export default async function* failedFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    const hasFailedTest = type === 'test:summary' && !data.success;
    const isFailedFile = type === 'test:fail' && data.name === data.file;
    if ((hasFailedTest || isFailedFile) && data.file) yield `${data.file}\n`;
  }
}
