import { readFileSync } from 'node:fs';
import ssh2, { type Client, type ClientChannel, type ConnectConfig, type ParsedKey } from 'ssh2';

/** A public key that the attacker offers, and the path of the key that signs; null if the attacker never signs. */
export interface Offer {
  readonly publicKey: string;
  readonly signWith: string | null;
}

/** Parses a key file's text. @throws Error if it is not a key. */
export function parsed(text: string): ParsedKey {
  const key = ssh2.utils.parseKey(text);
  if (key instanceof Error) throw key;
  return Array.isArray(key) ? key[0] : key;
}

/** An agent that offers keys in order, and signs with the key that the test chooses. */
export class LyingAgent extends ssh2.BaseAgent<ParsedKey> {
  readonly #offers: readonly Offer[];
  /** Called when the server knows an offered key and asks for a signature. */
  onSign: (index: number) => void = () => {};

  constructor(offers: readonly Offer[]) {
    super();
    this.#offers = offers;
  }

  override getIdentities(callback: (error: Error | undefined, keys?: ParsedKey[]) => void): void {
    callback(
      undefined,
      this.#offers.map((offer) => parsed(offer.publicKey)),
    );
  }

  override sign(key: ParsedKey, data: Buffer, ...rest: unknown[]): void {
    const callback = rest.at(-1) as (error?: Error, signature?: Buffer) => void;
    const index = this.#offers.findIndex((offer) => parsed(offer.publicKey).equals(key));
    const path = this.#offers[index]?.signWith ?? null;
    this.onSign(index);
    if (path !== null) callback(undefined, parsed(readFileSync(path, 'utf8')).sign(data));
  }
}

/** Connects. Resolves to the client after its login, and rejects with its first error. */
export function connect(config: ConnectConfig): Promise<Client> {
  const client = new ssh2.Client();
  return new Promise((resolve, reject) => {
    client.once('ready', () => {
      client.on('error', () => {});
      resolve(client);
    });
    client.on('error', reject);
    client.once('close', () => reject(new Error('closed')));
    client.connect({ host: '127.0.0.1', ...config });
  });
}

/** Starts a command with these environment variables. */
export function exec(
  client: Client,
  command: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ClientChannel> {
  return new Promise((resolve, reject) =>
    client.exec(command, { env }, (error, channel) => (error ? reject(error) : resolve(channel))),
  );
}

interface RawSessions {
  readonly _chanMgr: { add(opened: (error: Error | undefined, channel: ClientChannel) => void): number };
  readonly _protocol: {
    session(channel: number, window: number, packetBytes: number): void;
    channelClose(channel: number): void;
  };
}

/** A session without a command. `close` tells the server that it is over, each time that it is called. */
export interface BareSession {
  readonly channel: ClientChannel;
  close(): void;
}

/** Opens a session without a command, as no honest client does. */
export async function openSession(client: Client): Promise<BareSession> {
  const { _chanMgr: channels, _protocol: protocol } = client as unknown as RawSessions;
  const channel = await new Promise<ClientChannel>((resolve, reject) => {
    const opened = (error: Error | undefined, made: ClientChannel) =>
      error === undefined ? resolve(made) : reject(error);
    protocol.session(channels.add(Object.assign(opened, { type: 'session' })), 2 ** 21, 32_768);
  });
  const { outgoing } = channel as unknown as { readonly outgoing: { readonly id: number } };
  return { channel, close: () => protocol.channelClose(outgoing.id) };
}

/** Reads the output of a command until the command ends. */
export async function readAll(
  channel: ClientChannel,
): Promise<{ stdout: Buffer; stderr: Buffer; code: number | null }> {
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  channel.on('data', (chunk: Buffer) => stdout.push(chunk));
  channel.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const code = await new Promise<number | null>((resolve) =>
    channel.on('close', (status?: number) => resolve(status ?? null)),
  );
  return { stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr), code };
}

interface RawAuthentication {
  readonly _protocol: {
    authPK(
      username: string,
      key: ParsedKey,
      algorithm: string,
      sign: (data: Buffer, callback: (signature: Buffer) => void) => void,
    ): void;
  };
}

/** Sends one signed publickey request, with any algorithm name and hash. @returns whether the login succeeds. */
export async function logInWith(
  port: number,
  key: {
    readonly username: string;
    readonly path: string;
    readonly algorithm: string;
    readonly hash: string;
  },
): Promise<boolean> {
  const client = new ssh2.Client();
  const privateKey = parsed(readFileSync(key.path, 'utf8'));
  const isIn = await new Promise<boolean>((resolve, reject) => {
    client.once('ready', () => resolve(true));
    // ssh2's client emits a TypeError if the server refuses a request that ssh2 has not sent itself.
    client.on('error', (error) => (error instanceof TypeError ? resolve(false) : reject(error)));
    client.connect({
      host: '127.0.0.1',
      port,
      username: key.username,
      authHandler: () => {
        const inner = client as unknown as RawAuthentication;
        inner._protocol.authPK(key.username, privateKey, key.algorithm, (data, callback) =>
          callback(privateKey.sign(data, key.hash)),
        );
      },
    });
  });
  client.end();
  return isIn;
}
