import type { IncomingMessage, ServerResponse } from 'node:http';
import { Transform, type TransformCallback, type Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { DeployError } from '../core/errors.ts';
import { PacedReading } from '../core/paced-reading.ts';

const expecting = new WeakSet<ServerResponse>();

/** The client waits for `100 Continue`; it gets it when somebody reads the body. */
export function expectContinue(response: ServerResponse): void {
  expecting.add(response);
}

/** True while the client holds its body back until it has been told to send it. */
export function isHoldingBack(response: ServerResponse): boolean {
  return expecting.has(response);
}

/** Tells a client that waits for it to send its body. */
export function sendContinue(response: ServerResponse): void {
  if (expecting.delete(response) && !response.headersSent) response.writeContinue();
}

/** The client went before it had sent everything: nobody's fault, and nobody is left to be answered. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';

  constructor(options?: ErrorOptions) {
    super('the client left in the middle of its request', options);
  }
}

/**
 * The body as it comes. A reader that stops early does not cost the client its connection, so that it can
 * still be given an answer.
 *
 * @throws ClientGone
 */
export async function* chunksOf(request: IncomingMessage, response: ServerResponse): AsyncGenerator<Buffer> {
  sendContinue(response);
  try {
    yield* request.iterator({ destroyOnReturn: false });
  } catch (cause) {
    throw new ClientGone({ cause });
  }
}

/**
 * Sends the body through `stages`, each into the next; resolves when it has been read to its end and the last
 * one has what was passed on. Where one fails, all of them are destroyed, and the request is not: its client
 * can still be given an answer.
 *
 * @throws ClientGone, or the error of the stage that failed.
 */
export async function sendBody(
  request: IncomingMessage,
  response: ServerResponse,
  stages: readonly [Transform, ...Transform[], Writable],
): Promise<void> {
  const [first] = stages;
  // A stage may fail after its output has ended, when pipeline no longer listens.
  for (const stage of stages) stage.on('error', () => {});
  request.on('error', (cause) => first.destroy(new ClientGone({ cause })));
  request.once('close', () => {
    if (!request.complete) first.destroy(new ClientGone());
  });
  if (request.destroyed && !request.complete) first.destroy(new ClientGone());
  sendContinue(response);
  request.pipe(first);
  await Promise.all([pipeline(stages), ...stages.map((stage) => finished(stage, { readable: false }))]);
}

/**
 * What undoes the Content-Encoding: nothing, or gunzip. It streams, whatever the bytes inflate to.
 *
 * @throws DeployError `UNSUPPORTED_ENCODING`
 */
export function decodersOf(request: IncomingMessage): Transform[] {
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (encoding === 'identity' || encoding === '') return [];
  if (encoding === 'gzip' || encoding === 'x-gzip') return [createGunzip()];
  throw new DeployError(
    'UNSUPPORTED_ENCODING',
    'This server reads bodies as they are or in gzip.',
    'Send the request without that Content-Encoding.',
  );
}

/** Passes at most `bytes` through; more is a DeployError `BODY_TOO_LARGE`. */
export function atMost(bytes: number): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      left -= chunk.length;
      if (left >= 0) return done(null, chunk);
      done(
        new DeployError('BODY_TOO_LARGE', `The request is larger than ${bytes} bytes.`, 'Send less at once.'),
      );
    },
  });
}

/**
 * Ends the connection of a client that owes a body and sends none of it for `idleMs`. However long a body
 * takes, progress keeps it alive; and a body that waits because nobody here reads it is not its client's fault.
 */
export function watchBody(request: IncomingMessage, response: ServerResponse, idleMs: number): void {
  const { socket } = request;
  let seen = socket.bytesRead;
  let quietSince = performance.now();
  const check = () => {
    if (request.complete || request.destroyed) return stop();
    const isHeld = PacedReading.of(socket)?.isHolding === true;
    const isOurTurn = request.readableLength > 0 || expecting.has(response) || isHeld;
    if (socket.bytesRead !== seen || isOurTurn) {
      seen = socket.bytesRead;
      quietSince = performance.now();
    } else if (performance.now() - quietSince >= idleMs) {
      stop();
      socket.destroy();
    }
  };
  const timer = setInterval(check, Math.max(idleMs / 4, 10)).unref();
  const stop = () => clearInterval(timer);
  request.once('close', stop);
  response.once('close', stop);
}
