import { randomBytes } from 'node:crypto';
import { DeployError } from '../core/errors.ts';
import { clean } from '../core/progress.ts';

/** An error as the client reads it. `id` is set for a bug of ours: the log has it too. */
export interface Answer {
  readonly message: string;
  readonly hint: string;
  readonly id: string | null;
}

/** What to tell about an error: a DeployError as it is, and of anything else only that it is ours. */
export function answerTo(error: unknown): Answer {
  if (error instanceof DeployError) return { message: error.message, hint: error.hint, id: null };
  const id = randomBytes(4).toString('hex');
  return {
    message: 'Something went wrong in the server; it is not your doing.',
    hint: `Try again, and give the operators of this server this number if it happens again: ${id}.`,
    id,
  };
}

/** ` !     message` and ` !     hint`, for a terminal. */
export function asWarning({ message, hint }: Answer): string {
  return clean(`${message}\n${hint}`)
    .split('\n')
    .map((line) => ` !     ${line}\n`)
    .join('');
}

/**
 * The answer to a git client that waits for refs: it prints `fatal: remote error: message` and the hint, and
 * not its own guess about access rights as it does when it only finds the connection closed.
 *
 * @see https://git-scm.com/docs/pack-protocol#_pkt_line_format (`ERR`)
 */
export function asErrorPacket({ message, hint }: Answer): string {
  const text = clean(`ERR ${message}\n !     ${hint}`).slice(0, 4000);
  return `${(Buffer.byteLength(text) + 4).toString(16).padStart(4, '0')}${text}`;
}
