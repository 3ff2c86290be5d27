import { randomBytes } from 'node:crypto';
import { DeployError } from '../../core/errors.ts';
import { clean } from '../../core/progress.ts';
import { sentence } from '../../core/text/sentence.ts';

/** An error as the client sees it. `id` is set if the server itself failed, and the log has the same id. */
export interface Answer {
  readonly message: string;
  readonly hint: string;
  readonly id: string | null;
}

/**
 * Returns the answer to an error: a DeployError's message as a sentence, and its hint. For any other error, the answer
 * only says that the server failed.
 */
export function answerTo(error: unknown): Answer {
  if (error instanceof DeployError) return { message: sentence(error.message), hint: error.hint, id: null };
  const id = randomBytes(4).toString('hex');
  return {
    message: 'Something went wrong in the server; you did not cause this.',
    hint: `Try again. If it fails again, give the operators of this server this number: ${id}.`,
    id,
  };
}

/** Formats an answer for a terminal: the message and the hint, each after ` !     `. */
export function asWarning({ message, hint }: Answer): string {
  return clean(`${message}\n${hint}`)
    .split('\n')
    .map((line) => ` !     ${line}\n`)
    .join('');
}

/**
 * Returns the answer to a git client that waits for refs. The client prints `fatal: remote error: message` and the
 * hint. If the server only closed the connection, the client would guess at missing access rights.
 *
 * @see https://git-scm.com/docs/pack-protocol#_pkt_line_format (`ERR`)
 */
export function asErrorPacket({ message, hint }: Answer): string {
  const text = clean(`ERR ${message}\n !     ${hint}`).slice(0, 4000);
  return `${(Buffer.byteLength(text) + 4).toString(16).padStart(4, '0')}${text}`;
}
