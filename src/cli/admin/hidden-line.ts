import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { DeployError } from '../../core/errors.ts';

/**
 * Asks the person at the terminal for a secret, and yields what they type as one line. The terminal does not show the
 * line. The question appears only when the caller begins to read.
 *
 * @param secret - The name of the secret for the question, such as `password`.
 * @throws DeployError `NO_PASSWORD` if the person types no line, for example because of Ctrl-C.
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
