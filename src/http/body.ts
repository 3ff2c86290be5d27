import type { IncomingMessage, ServerResponse } from 'node:http';
import { Transform, type TransformCallback, type Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { createGunzip, type Gunzip } from 'node:zlib';
import { DeployError } from '../core/errors.ts';
import { PacedReading } from '../core/fair-share/paced-reading.ts';

const expecting = new WeakSet<ServerResponse>();

/** Records that the client waits for `100 Continue`, which is sent when the server begins to read the body. */
export function expectContinue(response: ServerResponse): void {
  expecting.add(response);
}

/** Whether the client still waits for `100 Continue`. */
export function isHoldingBack(response: ServerResponse): boolean {
  return expecting.has(response);
}

/** Sends `100 Continue` if the client waits for it. */
export function sendContinue(response: ServerResponse): void {
  if (expecting.delete(response) && !response.headersSent) response.writeContinue();
}

/** The client disconnected before it had sent everything. This is no fault, and needs no answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';

  constructor(options?: ErrorOptions) {
    super('the client left in the middle of its request', options);
  }
}

/**
 * Yields the body as it arrives. If the reader stops early, the connection stays open, so that the client can still be
 * answered.
 *
 * @throws ClientGone if the client leaves before the end of the body.
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
 * Pipes the body through `stages`, and resolves when the last stage has all of it. If a stage fails, destroys all
 * stages but not the request, so that the client can still be answered.
 *
 * @throws ClientGone, or the error of the stage that failed.
 */
export async function sendBody(
  request: IncomingMessage,
  response: ServerResponse,
  stages: readonly [Transform, ...Transform[], Writable],
): Promise<void> {
  const [first] = stages;
  // Handle late errors here, because a stream may fail after its output has ended, and `pipeline` does not handle such
  // an error.
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
 * A compressed body may expand to this many bytes plus `MAX_EXPANSION` times the bytes that have arrived. git
 * compresses only short lists, mostly of commit ids, which hardly shrink. A hostile client can compress zeros to a
 * thousandth of their size, but the server needs time for all of these zeros.
 */
const EXPANDED_BYTES = 1024 * 1024;
const MAX_EXPANSION = 100;

/**
 * The streams that undo the Content-Encoding of a request: no stream, or gunzip and a check of how far it expands.
 *
 * @throws DeployError `UNSUPPORTED_ENCODING` for any other encoding.
 */
export function decodersOf(request: IncomingMessage): Transform[] {
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (encoding === 'identity' || encoding === '') return [];
  if (encoding === 'gzip' || encoding === 'x-gzip') {
    const gunzip = createGunzip();
    return [gunzip, expandedFrom(gunzip)];
  }
  throw new DeployError(
    'UNSUPPORTED_ENCODING',
    'this server reads request bodies only without a Content-Encoding, or with gzip',
    'Compress the request with gzip, or send it without a Content-Encoding.',
  );
}

/** Passes on what `gunzip` yields, and fails with DeployError `BODY_TOO_LARGE` if it expands too far. */
function expandedFrom(gunzip: Gunzip): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      bytes += chunk.length;
      if (bytes <= EXPANDED_BYTES + MAX_EXPANSION * gunzip.bytesWritten) return done(null, chunk);
      done(
        new DeployError(
          'BODY_TOO_LARGE',
          `the gzip data of the request expands to more than 1 MiB plus ${MAX_EXPANSION} times its size`,
          'Send the request without a Content-Encoding.',
        ),
      );
    },
  });
}

/** Passes at most `bytes` through, and fails with DeployError `BODY_TOO_LARGE` at more. */
export function atMost(bytes: number): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      left -= chunk.length;
      if (left >= 0) return done(null, chunk);
      done(
        new DeployError('BODY_TOO_LARGE', `the request is larger than ${bytes} bytes`, 'Send less at once.'),
      );
    },
  });
}

/**
 * Ends the connection of a client that takes no byte of its answer for `idleMs`. Without this limit, the client could
 * hold the place of its request for ever. The limit applies only while bytes of the answer wait in this process.
 */
export function watchReader(response: ServerResponse, idleMs: number): void {
  response.setTimeout(idleMs, () => {
    const { socket } = response;
    if (socket !== null && socket.writableLength > 0) socket.destroy();
  });
}

/**
 * Ends the connection of a client that has not sent the whole body of its request and sends nothing for `idleMs`. The
 * time counts only while the server is reading.
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
