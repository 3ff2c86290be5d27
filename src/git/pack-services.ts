import type { Transform } from 'node:stream';
import type { ToolName } from '../core/names.ts';
import type { Principal } from '../core/types.ts';

export interface ReceiveRequest {
  readonly tool: ToolName;
  readonly principal: Principal;
  /**
   * True over SSH, where git first sends the ref advertisement. False over HTTP, where an earlier request got the
   * advertisement. Also false if `isArchive` is true.
   */
  readonly hasAdvertisement: boolean;
  /** True if the server itself pushes a commit of files that a person has sent without git. */
  readonly isArchive?: true;
}

/**
 * One running push, whose report tells the client whether the commit is live. The caller runs `git receive-pack` in
 * `folder` with exactly `environment`, and pumps: client → `incoming` → git's stdin; git's stdout → `outgoing` →
 * client.
 *
 * After an early refusal, `incoming` keeps reading, limited in bytes and time, so that the client gets its answer. Over
 * HTTP, this answer is sent when the body has been read. `outgoing` ends when git's output has ended and the answer to
 * the client is complete. If the client is gone, the caller keeps reading from `outgoing`.
 */
export interface PushSession {
  readonly id: string;
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly incoming: Transform;
  readonly outgoing: Transform;
  /**
   * Why this push will be refused whatever it contains, in one line: for example, because the tool is frozen or the
   * disk is full. Null if the push may be accepted.
   */
  readonly whyClosed: string | null;
  /**
   * Returns the text about this push that SSH writes to standard error after git has ended. Null if there is no such
   * text. Call this only after the stream `outgoing` has ended.
   */
  readonly notice: () => string | null;
  /**
   * Returns the exit status that SSH reports instead of git's own: 0 if the answer to the client refuses nothing,
   * otherwise 1. Null if the client got no answer, for example to a push of no ref: git's own status then counts.
   */
  readonly exitStatus: () => 0 | 1 | null;
  /**
   * Ends the push, so that work that waits for the repository may begin. The caller calls this when git has ended, also
   * after a failure.
   *
   * @param wasKilled - True if a signal ended git, because git may then have left lock files.
   */
  close(wasKilled?: boolean): void;
}

/** One clone or fetch: git runs in `folder` with exactly `environment`. */
export interface FetchSession {
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  /**
   * Fires with a DeployError if the person who clones or fetches may no longer read the tool. The caller then ends git.
   * Null if `upload` got null as the reader.
   */
  readonly lost: AbortSignal | null;
  /** Gives back the place of this clone or fetch. The caller calls this when git has ended, also after a failure. */
  close(): void;
}

/** Opens git pushes and fetches for the SSH and HTTP servers. Callers must have authorised the principal. */
export interface PackServices {
  /**
   * Opens a push, and creates the tool's repository first if needed.
   *
   * @throws DeployError `TOO_MANY_PUSHES` if the person or the tool has too many pushes under way; `TOOL_RENAMED` if
   * the tool has another name now; `DISK_NEARLY_FULL` if the disk has no room to create or repair the repository.
   */
  receive(request: ReceiveRequest): Promise<PushSession>;
  /**
   * Opens a clone or fetch. `protocol` is the client's GIT_PROTOCOL, already checked. `reader` is null for a request
   * over HTTP that asks only for the ref advertisement. Such a request takes no place and is not audited. The fetch
   * itself is a second request, with a reader: it takes a place and is audited. If nobody has pushed to the tool, its
   * repository is empty.
   *
   * @throws DeployError `TOO_MANY_FETCHES` if the reader gets no place; `TOOL_RENAMED` if the tool has another name
   * now; `DISK_NEARLY_FULL` if the disk has no room to create or repair the repository.
   */
  upload(tool: ToolName, protocol: string | null, reader: Principal | null): Promise<FetchSession>;
  /**
   * Returns the folder and the environment for `git receive-pack --http-backend-info-refs`, which advertises refs to a
   * push over HTTP.
   */
  advertise(tool: ToolName): Promise<{ folder: string; environment: Record<string, string> }>;
}

/** Returns the value if git may get it as its environment variable `GIT_PROTOCOL`, otherwise null. */
export function gitProtocol(value: unknown): string | null {
  return typeof value === 'string' && /^version=[012]$/.test(value) ? value : null;
}
