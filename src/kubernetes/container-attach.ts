import { Attach, type KubeConfig } from '@kubernetes/client-node';
import { untilAborted } from '../core/concurrency/until-aborted.ts';
import { DeployError } from '../core/errors.ts';
import type { Cluster } from './cluster.ts';
import type { ContainerName } from './container-log.ts';

/** The channels of the attach protocol. Each message begins with the byte of its channel. */
const CHANNEL = { input: 0, output: 1, errors: 2, status: 3, resize: 4, close: 255 } as const;
/** The first version of the attach protocol that can close a single channel. */
const WITH_CLOSE = 'v5.channel.k8s.io';

/**
 * While at least this many bytes of output wait for their reader, this server reads no more from the cluster. The
 * container's process then blocks when it prints.
 */
const MAX_WAITING_BYTES = 256 * 1024;
const PIECE_BYTES = 32 * 1024;
// The pause between two pings, which keep proxies from cutting a silent connection.
const PING_MS = 30_000;

export interface Attaching {
  readonly isTerminal: boolean;
  /** How long the cluster may take to connect, in milliseconds. */
  readonly timeoutMs: number;
  /** Ends the attempt to connect. Has no effect on an open connection. */
  readonly signal: AbortSignal;
  /**
   * The program to run in the container beside the container's process, with its arguments. If not set, the connection
   * is to the container's process itself.
   */
  readonly command?: readonly string[];
}

/** How a command ended: its exit status, or the reason why the cluster reports no status. */
export type CommandEnd = { readonly status: number } | { readonly why: string };

/** The parts of the package `ws` that this file uses. */
interface Socket {
  readonly protocol: string;
  pause(): void;
  resume(): void;
  ping(): void;
  terminate(): void;
  send(data: Uint8Array, done: (error?: Error) => void): void;
  onclose: (() => void) | null;
}

export interface ContainerChunk {
  readonly stream: 'output' | 'errors';
  readonly bytes: Uint8Array;
}

/**
 * A connection to the standard streams of a container's process, or of another command in the container. Output from
 * before the connection is not read. A slow reader makes the process wait.
 *
 * @see https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-connect-attach
 */
export class ContainerAttachment implements Disposable {
  readonly #socket: Socket;
  readonly #ping: NodeJS.Timeout;
  #chunks: ContainerChunk[] = [];
  #waitingBytes = 0;
  #hasEnded = false;
  #end: CommandEnd | null = null;
  /** The newest size of the terminal, if it still waits to be sent. Null if no size waits. */
  #nextSize: { readonly columns: number; readonly rows: number } | null = null;
  #resizing: Promise<void> | null = null;
  #wake: () => void = () => {};

  private constructor(socket: Socket, earlier: readonly ContainerChunk[], end: CommandEnd | null) {
    this.#end = end;
    this.#socket = socket;
    for (const chunk of earlier) this.#take(chunk);
    socket.onclose = () => {
      this.#hasEnded = true;
      this.#wake();
    };
    this.#ping = setInterval(() => socket.ping(), PING_MS).unref();
  }

  /**
   * Connects to a container. @throws DeployError `CLUSTER_FORBIDDEN` if this server may not attach to containers or run
   * commands in them; `ATTACH_FAILED` if the cluster does not connect; the signal's reason when the signal fires.
   */
  static async open(
    cluster: Cluster,
    { namespace, pod, container }: ContainerName,
    { isTerminal, timeoutMs, signal, command }: Attaching,
  ): Promise<ContainerAttachment> {
    const query = new URLSearchParams({
      ...{ container, stdin: 'true', stdout: 'true' },
      // Ask for standard error only without a terminal: a terminal has only one output, and the API refuses a request
      // for both outputs.
      ...{ stderr: String(!isTerminal), tty: String(isTerminal) },
    });
    for (const word of command ?? []) query.append('command', word);
    const verb = command === undefined ? 'attach' : 'exec';
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}/${verb}?${query}`;
    const earlier: ContainerChunk[] = [];
    let end: CommandEnd | null = null;
    let takeEnd = (given: CommandEnd): void => {
      end = given;
    };
    let take = (chunk: ContainerChunk): void => void earlier.push(chunk);
    const onMessage = (channel: number, bytes: Uint8Array): boolean => {
      const stream = channel === CHANNEL.output ? 'output' : channel === CHANNEL.errors ? 'errors' : null;
      if (stream !== null && bytes.length > 0) take({ stream, bytes });
      if (channel === CHANNEL.status && bytes.length > 0) takeEnd(endOf(String(bytes)));
      return true;
    };
    // The Kubernetes library's own `attach` is not used, because it never waits for a slow reader of the output.
    const { handler } = new Attach(givingUpAfter(timeoutMs, cluster.kubeConfig));
    const connecting = handler.connect(path, null, onMessage) as unknown as Promise<Socket>;
    const socket = await untilAborted(connecting, signal).catch((error: unknown) => {
      connecting.then((late) => late.terminate()).catch(() => {});
      throw signal.aborted ? signal.reason : refused(error, namespace, verb);
    });
    const attachment = new ContainerAttachment(socket, earlier, end);
    take = (chunk) => attachment.#take(chunk);
    takeEnd = (given) => {
      attachment.#end = given;
    };
    return attachment;
  }

  /** How the command of this connection ended. Null as long as the cluster has not reported it. */
  get commandEnd(): CommandEnd | null {
    return this.#end;
  }

  /** Yields the output of the process until the connection ends. */
  async *chunks(): AsyncGenerator<ContainerChunk> {
    for (;;) {
      const chunk = this.#next();
      if (chunk !== null) {
        yield chunk;
        this.#waitingBytes -= chunk.bytes.length;
        if (this.#waitingBytes < MAX_WAITING_BYTES) this.#socket.resume();
      } else if (this.#hasEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /**
   * Returns all waiting bytes of standard output or of standard error, whichever has the oldest waiting byte. Null if
   * no bytes wait. If a command writes bytes one by one, the server thus passes them on together.
   */
  #next(): ContainerChunk | null {
    const [first] = this.#chunks;
    if (first === undefined) return null;
    const { stream } = first;
    const taken = this.#chunks.filter((chunk) => chunk.stream === stream);
    this.#chunks = this.#chunks.filter((chunk) => chunk.stream !== stream);
    return { stream, bytes: Buffer.concat(taken.map(({ bytes }) => bytes)) };
  }

  /** Writes to the input of the process. Resolves when the bytes have been sent, or when the connection has ended. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      await this.#send(CHANNEL.input, bytes.subarray(at, at + PIECE_BYTES));
    }
  }

  /**
   * Closes the input of the process. Does nothing in a cluster before Kubernetes 1.30, whose protocol cannot close the
   * input.
   */
  async end(): Promise<void> {
    if (this.#socket.protocol === WITH_CLOSE) await this.#send(CHANNEL.close, Uint8Array.of(CHANNEL.input));
  }

  /**
   * Sets the size of the terminal. Resolves when the newest size has been sent. A size is skipped if a newer one is set
   * before it was sent.
   */
  resize(size: { readonly columns: number; readonly rows: number }): Promise<void> {
    this.#nextSize = size;
    this.#resizing ??= this.#sendSizes().finally(() => {
      this.#resizing = null;
    });
    return this.#resizing;
  }

  async #sendSizes(): Promise<void> {
    for (let size = this.#nextSize; size !== null; size = this.#nextSize) {
      this.#nextSize = null;
      const text = JSON.stringify({ Width: size.columns, Height: size.rows });
      await this.#send(CHANNEL.resize, Buffer.from(text));
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#ping);
    this.#socket.terminate();
  }

  #take(chunk: ContainerChunk): void {
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.bytes.length;
    if (this.#waitingBytes >= MAX_WAITING_BYTES) this.#socket.pause();
    this.#wake();
  }

  #send(channel: number, bytes: Uint8Array): Promise<void> {
    if (this.#hasEnded) return Promise.resolve();
    return new Promise((resolve) => {
      this.#socket.send(Buffer.concat([Uint8Array.of(channel), bytes]), () => resolve());
    });
  }
}

/** Returns the same kubeconfig, with a time limit for the handshake of WebSockets. */
function givingUpAfter(timeoutMs: number, kubeConfig: KubeConfig): KubeConfig {
  const applyToHTTPSOptions: KubeConfig['applyToHTTPSOptions'] = async (options) => {
    await kubeConfig.applyToHTTPSOptions(options);
    Object.assign(options, { handshakeTimeout: timeoutMs });
  };
  return Object.create(kubeConfig, { applyToHTTPSOptions: { value: applyToHTTPSOptions } }) as KubeConfig;
}

/**
 * Reads the `Status` that the cluster sends at the end of a command.
 *
 * @see https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand
 */
function endOf(text: string): CommandEnd {
  try {
    const { status, message, details } = JSON.parse(text);
    if (status === 'Success') return { status: 0 };
    const causes: unknown[] = Array.isArray(details?.causes) ? details.causes : [];
    const code = causes.find(
      (cause) => cause instanceof Object && 'reason' in cause && cause.reason === 'ExitCode',
    );
    const number = code instanceof Object && 'message' in code ? Number(code.message) : Number.NaN;
    if (Number.isInteger(number)) return { status: number & 255 };
    return { why: String(message ?? '').slice(0, 200) };
  } catch {
    return { why: text.slice(0, 200) };
  }
}

function refused(error: unknown, namespace: string, verb: 'attach' | 'exec'): DeployError {
  const said = error instanceof Object && 'message' in error ? String(error.message) : '';
  if (/\b403\b/.test(said)) {
    return new DeployError(
      'CLUSTER_FORBIDDEN',
      `this server may not ${verb === 'attach' ? 'attach to' : 'run commands in'} pods in the namespace ${namespace}`,
      `Tell the operator: the role of the server’s service account (RBAC) lacks pods/${verb}.`,
    );
  }
  return new DeployError(
    'ATTACH_FAILED',
    `the cluster does not connect this server to the command: ${said.slice(0, 200) || 'it does not say why'}`,
    'Run the command again; if it fails again, tell the operator.',
  );
}
