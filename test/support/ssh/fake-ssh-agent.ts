import { createECDH } from 'node:crypto';
import { createServer, type Server } from 'node:net';

const FAILURE = 5;
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;

/**
 * An ssh-agent that offers public keys and signs nothing, for hardware keys that this machine does not have.
 *
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-sshm-ssh-agent
 */
export async function startFakeAgent(path: string, blobs: readonly Buffer[]): Promise<Server> {
  const answer = Buffer.concat([
    Buffer.from([IDENTITIES_ANSWER]),
    uint32(blobs.length),
    ...blobs.flatMap((blob) => [string(blob), string(Buffer.from('fake'))]),
  ]);
  const server = createServer((socket) => {
    socket.on('error', () => {});
    let waiting: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      waiting = Buffer.concat([waiting, chunk]);
      while (waiting.length >= 5 && waiting.length >= 4 + waiting.readUInt32BE(0)) {
        socket.write(string(waiting[4] === REQUEST_IDENTITIES ? answer : Buffer.from([FAILURE])));
        waiting = waiting.subarray(4 + waiting.readUInt32BE(0));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}

/** Returns the public key, as SSH encodes it, of a hardware key that does not exist. */
export function hardwareKeyBlob(algorithm: string, index = 0): Buffer {
  const fields = algorithm.startsWith('sk-ecdsa')
    ? [Buffer.from('nistp256'), createECDH('prime256v1').generateKeys()]
    : [Buffer.alloc(32, index + 1)];
  return Buffer.concat([Buffer.from(algorithm), ...fields, Buffer.from('ssh:')].map(string));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function string(bytes: Buffer): Buffer {
  return Buffer.concat([uint32(bytes.length), bytes]);
}
