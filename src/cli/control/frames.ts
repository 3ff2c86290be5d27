/** The media type of an answer in frames. A client over HTTP asks for frames by naming it in its header `Accept`. */
export const FRAMES_TYPE = 'application/x-toolforge-push-frames';

/** The kind of a frame: output, error output, or the exit status as one byte. */
export type FrameKind = 'out' | 'err' | 'exit';

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

const LETTERS = { out: 'o', err: 'e', exit: 'x' } as const satisfies Record<FrameKind, string>;
const KINDS: ReadonlyMap<string, FrameKind> = new Map(
  Object.entries(LETTERS).map(([kind, letter]) => [letter, kind as FrameKind]),
);

const headBytes = 5;
/** The most bytes of output in one frame. A longer output is sent as several frames. */
export const MAX_PAYLOAD_BYTES = 64 * 1024;

/**
 * Encodes bytes as frames. Each frame has one byte for the kind, four bytes for the length (big-endian), and the
 * payload. An empty payload gives one frame.
 */
export function encodeFrames(kind: FrameKind, payload: Uint8Array): Buffer {
  const parts: Uint8Array[] = [];
  for (let from = 0; from === 0 || from < payload.length; from += MAX_PAYLOAD_BYTES) {
    const piece = payload.subarray(from, from + MAX_PAYLOAD_BYTES);
    const head = Buffer.alloc(headBytes);
    head.write(LETTERS[kind], 'latin1');
    head.writeUInt32BE(piece.length, 1);
    parts.push(head, piece);
  }
  return Buffer.concat(parts);
}

/** Reads the frames of a stream. Ignores an incomplete frame at the end. @throws Error if the bytes are not frames. */
export async function* decodeFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of chunks) {
    bytes = Buffer.concat([bytes, chunk]);
    for (let length = wholeLength(bytes); length !== null; length = wholeLength(bytes)) {
      yield { kind: kindOf(bytes), payload: bytes.subarray(headBytes, length) };
      bytes = bytes.subarray(length);
    }
  }
}

/** The length of the first frame with its header, or null if the frame is incomplete. */
function wholeLength(bytes: Buffer): number | null {
  if (bytes.length < headBytes) return null;
  kindOf(bytes);
  const length = bytes.readUInt32BE(1);
  if (length > MAX_PAYLOAD_BYTES) throw new Error(`A frame with ${length} bytes is too long.`);
  return bytes.length >= headBytes + length ? headBytes + length : null;
}

function kindOf(bytes: Buffer): FrameKind {
  const kind = KINDS.get(bytes.toString('latin1', 0, 1));
  if (kind === undefined)
    throw new Error(`A frame begins with the byte ${bytes[0]}, which stands for no kind of frame.`);
  return kind;
}
