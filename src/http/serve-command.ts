import { parseArgsStringToArgv } from 'string-argv';
import type { CommandLine, Output, Services } from '../cli/command.ts';
import { readRequest } from '../cli/control/control-protocol.ts';
import { encodeFrames, FRAMES_TYPE, type FrameKind } from '../cli/control/frames.ts';
import { DeployError } from '../core/errors.ts';
import { clean } from '../core/progress.ts';
import { sentence } from '../core/text/sentence.ts';
import type { Principal } from '../core/types.ts';
import { answerError, answerText, type Exchange, reportBug, statusOf } from './answer.ts';
import { chunksOf } from './body.ts';

export interface CommandServing {
  readonly services: Services;
  readonly runCommand: (line: CommandLine) => Promise<number>;
}

const LINE_BYTES = 64 * 1024;
/** The server drops a client that takes longer than this to send the line of its command. */
const FIRST_LINE_MS = 10_000;
const EXIT_STATUS = 'Toolforge-Exit-Status';
/** How long a stalled client has to read the reason why it was dropped. */
const LAST_WORDS_MS = 30_000;
/** The exit status of a wrong command line. */
const WRONG_USAGE = 2;

/**
 * Runs one command line for a logged-in user. The first line of the body is the command line, the rest is standard
 * input. Output is plain text, sent as it comes.
 *
 * If the command fails before any output, the HTTP status says so. Otherwise, the HTTP status is 200, and the HTTP/1.1
 * trailer `Toolforge-Exit-Status` has the exit status of the command. If the exit status is not 0, the text also ends
 * with a line that says it.
 *
 * The program `toolforge-push` names `FRAMES_TYPE` in its header `Accept`. Its line is JSON, as over the local socket,
 * so that a word may have any character. The answer to a valid line has the HTTP status 200 and consists of frames,
 * which keep standard output, error output and the exit status apart.
 */
export async function serveCommand(
  exchange: Exchange,
  principal: Principal,
  { services, runCommand }: CommandServing,
): Promise<void> {
  const { request, response, signal } = exchange;
  if (request.headers['content-encoding'] !== undefined) {
    throw new DeployError(
      'UNSUPPORTED_ENCODING',
      'the body of a command request must be plain text, without a Content-Encoding',
      'Send the request without a Content-Encoding.',
    );
  }
  const slow = setTimeout(() => request.destroy(), FIRST_LINE_MS).unref();
  const { line, input } = await firstLine(chunksOf(request, response)).finally(() => clearTimeout(slow));
  const isFramed = request.headers.accept === FRAMES_TYPE;
  const argv = isFramed ? readRequest(line) : parseArgsStringToArgv(line);
  if (argv === null) throw badCommandLine();
  const output = isFramed ? new FramedOutput(exchange) : new CommandOutput(exchange);
  try {
    const status = await runCommand({
      services,
      principal,
      argv: argv.length === 0 ? ['help'] : argv,
      input,
      out: (text) => output.say(text),
      err: (text) => output.complain(text),
      signal,
      onRefusal: (code) => output.refuse(code),
    });
    await output.end(status);
  } catch (error) {
    await output.fail(error);
  }
}

/** Reads the first line of the body. @throws DeployError `BAD_COMMAND_LINE` if the line cannot be a command line. */
async function firstLine(
  chunks: AsyncGenerator<Buffer>,
): Promise<{ line: string; input: AsyncIterable<Uint8Array> }> {
  let head = Buffer.alloc(0);
  let end = -1;
  while (end < 0 && head.length <= LINE_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
    end = head.indexOf('\n');
  }
  const line = head
    .subarray(0, end < 0 ? head.length : end)
    .toString()
    .replace(/\r$/, '');
  if (line.length > LINE_BYTES || /(?!\t)\p{Cc}|\ufffd/u.test(line)) throw badCommandLine();
  const left = end < 0 ? Buffer.alloc(0) : head.subarray(end + 1);
  return { line, input: rest(left, chunks) };
}

function badCommandLine(): DeployError {
  return new DeployError(
    'BAD_COMMAND_LINE',
    'the first line of the request body is not a command line',
    `Send the words of a command, for example: curl -u USER --data 'ps TOOL' …`,
  );
}

async function* rest(left: Buffer, chunks: AsyncGenerator<Buffer>): AsyncGenerator<Uint8Array> {
  if (left.length > 0) yield left;
  yield* chunks;
}

/** The answer to a command. The HTTP status is chosen at the first output. */
class CommandOutput {
  readonly #exchange: Exchange;
  /** The error messages before the first output. They are held back, because the HTTP status is not chosen yet. */
  #complaints = '';
  /** The HTTP status of a refusal. Null if the command has not been refused. */
  #refusal: number | null = null;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** Resolves when the client can take more, or has disconnected. */
  async say(text: Output): Promise<void> {
    const { response } = this.#exchange;
    if (response.destroyed || text.length === 0) return;
    if (!response.headersSent) this.#begin();
    await send(this.#exchange, text);
  }

  /**
   * Writes error output. Sends bytes immediately, because they come from a process. Keeps texts of this server back
   * until the first output.
   */
  async complain(text: Output): Promise<void> {
    if (typeof text !== 'string' || this.#exchange.response.headersSent) return this.say(text);
    this.#complaints += text;
  }

  refuse(code: string): void {
    this.#refusal = statusOf({ code });
    dropStalled(this.#exchange, code);
  }

  async end(status: number): Promise<void> {
    const { response } = this.#exchange;
    if (response.destroyed) return;
    if (!response.headersSent && status !== 0) {
      const text = this.#complaints === '' ? ` !     exit status ${status}\n` : this.#complaints;
      return answerText(this.#exchange, status === WRONG_USAGE ? 400 : (this.#refusal ?? 409), text, {
        [EXIT_STATUS]: status,
      });
    }
    if (!response.headersSent) this.#begin();
    if (status !== 0) await this.say(` !     exit status ${status}\n`);
    response.addTrailers({ [EXIT_STATUS]: String(status) });
    response.end();
  }

  async fail(error: unknown): Promise<void> {
    const { response, log, signal } = this.#exchange;
    if (response.destroyed || signal.aborted) return;
    if (!response.headersSent) return answerError(this.#exchange, error);
    await this.say(wordsOf(log, error));
    await this.end(1);
  }

  #begin(): void {
    const { response } = this.#exchange;
    // Node throws if an answer without chunks has a trailer. HTTP/1.0, nginx's default, has no chunks, so such an
    // answer gets no trailer.
    const trailer = response.useChunkedEncodingByDefault ? { Trailer: EXIT_STATUS } : {};
    response.writeHead(200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-store',
      ...trailer,
      'X-Accel-Buffering': 'no',
      'X-Content-Type-Options': 'nosniff',
    });
    if (this.#complaints !== '') response.write(this.#complaints);
  }
}

/** The answer, in frames, to a command that the program `toolforge-push` has sent. */
class FramedOutput {
  readonly #exchange: Exchange;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    exchange.response.writeHead(200, {
      'Content-Type': FRAMES_TYPE,
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
      'X-Content-Type-Options': 'nosniff',
    });
    // Send the head of the answer now: a command may print nothing for long, and the client waits to know whether the
    // login succeeded.
    exchange.response.flushHeaders();
  }

  say(text: Output): Promise<void> {
    return this.#send('out', text);
  }

  complain(text: Output): Promise<void> {
    return this.#send('err', text);
  }

  refuse(code: string): void {
    dropStalled(this.#exchange, code);
  }

  async end(status: number): Promise<void> {
    await this.#send('exit', Uint8Array.of(status));
    this.#exchange.response.end();
  }

  async fail(error: unknown): Promise<void> {
    const { response, log, signal } = this.#exchange;
    if (response.destroyed || signal.aborted) return;
    await this.complain(wordsOf(log, error));
    await this.end(1);
  }

  async #send(kind: FrameKind, payload: Output): Promise<void> {
    if (this.#exchange.response.destroyed || payload.length === 0) return;
    await send(this.#exchange, encodeFrames(kind, Buffer.from(payload)));
  }
}

/** Writes to the answer. Resolves when the client can take more, or has disconnected. */
async function send({ response, signal }: Exchange, data: Output): Promise<void> {
  if (response.write(data)) return;
  await new Promise<void>((resolve) => {
    const settle = () => {
      response.off('drain', settle);
      signal.removeEventListener('abort', settle);
      resolve();
    };
    response.once('drain', settle);
    signal.addEventListener('abort', settle, { once: true });
    if (signal.aborted) settle();
  });
}

/**
 * If `code` says that the client has stalled, ends the connection after `LAST_WORDS_MS`, so that the client has time to
 * read the reason.
 */
function dropStalled({ response }: Exchange, code: string): void {
  if (code === 'FOLLOWER_STALLED') setTimeout(() => response.destroy(), LAST_WORDS_MS).unref();
}

/**
 * Returns the text for the client about an error that ends a command, in the form of warnings. Logs a fault of the
 * server.
 */
function wordsOf(log: Exchange['log'], error: unknown): string {
  const lines =
    error instanceof DeployError
      ? [sentence(error.message), error.hint]
      : [`This is a fault of the server. Its log has the details under ${reportBug(log, error)}.`];
  return clean(lines.map((line) => ` !     ${line}\n`).join(''));
}
