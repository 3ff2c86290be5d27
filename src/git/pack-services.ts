import type { Transform } from 'node:stream';
import type { ToolName } from '../core/names.ts';
import type { Principal } from '../core/types.ts';

export interface ReceiveRequest {
  readonly tool: ToolName;
  readonly principal: Principal;
  /** True where git's ref advertisement comes out of the same process first (SSH); false over stateless HTTP. */
  readonly hasAdvertisement: boolean;
}

/**
 * One conversation of a client with `git receive-pack`, made truthful. The door runs git in `folder` with
 * exactly `environment`, and pumps: client → `incoming` → git's stdin; git's stdout → `outgoing` → client.
 *
 * `incoming` goes on reading after an early refusal, bounded in bytes and time, so that the client gets to
 * its answer; over HTTP the answer is sent when the body has been read. `outgoing` ends when git's output has ended
 * and the verdict is in. When the client is gone, the door goes on reading from `outgoing`.
 */
export interface PushSession {
  readonly id: string;
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly incoming: Transform;
  readonly outgoing: Transform;
  /**
   * What to print on standard error after the end (SSH), in a few lines; null = nothing. Known when
   * `outgoing` has ended.
   */
  readonly notice: () => string | null;
  /**
   * The exit status that goes with the client's answer, however git ended: 0 where it says that everything was done,
   * else 1; null where there was none.
   */
  readonly exitStatus: () => 0 | 1 | null;
  /**
   * Must be called once git has ended, however it did.
   *
   * @param wasKilled - By a signal: it may have left locks.
   */
  close(wasKilled?: boolean): void;
}

/** One clone or fetch: git runs in `folder` with exactly `environment`. */
export interface FetchSession {
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Must be called once git has ended, however it did. */
  close(): void;
}

/** What doors need to serve git; authorised before it is called. */
export interface PackServices {
  /** The repository is made at the first push. */
  receive(request: ReceiveRequest): Promise<PushSession>;
  /**
   * For clone and fetch. `protocol` is the client's GIT_PROTOCOL, checked already; `reader` null = only the
   * advertisement over HTTP, which the fetch itself follows.
   * A tool that nobody has pushed to yet gives an empty repository.
   *
   * @throws DeployError `TOO_MANY_FETCHES`
   */
  upload(tool: ToolName, protocol: string | null, reader: Principal | null): Promise<FetchSession>;
  /** For the ref advertisement of a push over HTTP: `git receive-pack --http-backend-info-refs`. */
  advertise(tool: ToolName): Promise<{ folder: string; environment: Record<string, string> }>;
}

/** A GIT_PROTOCOL value that may be passed on, or null. */
export function gitProtocol(value: unknown): string | null {
  return typeof value === 'string' && /^version=[012]$/.test(value) ? value : null;
}
