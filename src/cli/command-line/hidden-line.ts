import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { DeployError } from '../../core/errors.ts';

/**
 * Asks the person at the terminal for one line, without showing it. Asks only when the line is read.
 *
 * @throws DeployError `NO_PASSWORD`
 */
export async function* hiddenLine(
  terminal: ReadStream,
  say: (text: string) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  // This comes before the question, so that the terminal does not show a key that is pressed early.
  const lines = createInterface({ input: terminal, output: nowhere, terminal: true });
  try {
    const line = new Promise<string | null>((resolve) => {
      lines.once('line', resolve);
      lines.once('close', () => resolve(null));
    });
    await say('Password: ');
    const typed = await line;
    await say('\n');
    if (typed === null)
      throw new DeployError('NO_PASSWORD', 'No password was given.', 'Nothing has changed.');
    yield Buffer.from(`${typed}\n`);
  } finally {
    lines.close();
  }
}
