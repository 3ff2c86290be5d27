import type { ClientRequest } from 'node:http';
import { AnswerFirstAgent } from './answer-first-agent.ts';

/** How many interim answers (status 1xx) a tool may send before its final answer. */
const MAX_INTERIM_ANSWERS = 16;

/** The error that ends a request to a tool if the tool's final answer does not begin. `reason` says why. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  readonly reason: 'too-late' | 'only-interim';

  constructor(reason: NoAnswer['reason']) {
    super(reason);
    this.reason = reason;
  }
}

/**
 * Destroys a request to a tool with the error `NoAnswer` if the tool's answer does not begin within `answerMs`, or if
 * more than {@link MAX_INTERIM_ANSWERS} interim answers come first. The time starts again whenever the tool reads more
 * of the request's body. An interim answer does not count as an answer.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.2
 */
export function watchAnswer(outgoing: ClientRequest, answerMs: number): void {
  AnswerFirstAgent.watch(outgoing);
  let taken = 0;
  let quietSince = performance.now();
  const timer = setInterval(
    () => {
      const { bytesWritten = 0 } = outgoing.socket ?? {};
      if (bytesWritten > taken) {
        taken = bytesWritten;
        quietSince = performance.now();
      } else if (performance.now() - quietSince >= answerMs) outgoing.destroy(new NoAnswer('too-late'));
    },
    Math.max(answerMs / 20, 10),
  );
  let interim = 0;
  outgoing.on('information', () => {
    interim += 1;
    if (interim > MAX_INTERIM_ANSWERS) outgoing.destroy(new NoAnswer('only-interim'));
  });
  const stop = () => clearInterval(timer);
  outgoing.once('response', stop);
  outgoing.once('upgrade', stop);
  outgoing.once('close', stop);
}
