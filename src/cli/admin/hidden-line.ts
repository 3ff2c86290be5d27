import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { DeployError } from '../../core/errors.ts';

/**
 * Asks the person at the terminal for a secret, such as `password`, and yields it as one line, which the terminal does not
 * show. Asks only when a command begins to read the line.
 *
 * @throws DeployError `NO_PASSWORD`
 */
export async function* hiddenLine(
  terminal: ReadStream,
  secret: string,
  say: (text: string) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  // Begin to read before the question is printed, so that the terminal does not show a key that is pressed early.
  const lines = createInterface({ input: terminal, output: nowhere, terminal: true });
  try {
    const line = new Promise<string | null>((resolve) => {
      lines.once('line', resolve);
      lines.once('close', () => resolve(null));
    });
    await say(`${secret.charAt(0).toUpperCase()}${secret.slice(1)}: `);
    const typed = await line;
    await say('\n');
    if (typed === null)
      throw new DeployError('NO_PASSWORD', `no ${secret} was given`, 'Nothing has changed.');
    yield Buffer.from(`${typed}\n`);
  } finally {
    lines.close();
  }
}
