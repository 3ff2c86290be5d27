import { EventEmitter, once } from 'node:events';
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { noneIfGone } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import { type Progress, paint, progressTo } from '../core/progress.ts';
import { ToldLines } from './told-lines.ts';

/** What one reader of a log costs is a few times this. */
const CHUNK_BYTES = 16 * 1024;
/** So many logs of a tool are kept on the disk, the newest, and no more bytes of them than this. */
const MAX_LOGS = 200;
const MAX_LOG_BYTES = 1024 * 1024 * 1024;
const LOST = ' !     Lines are missing here: the disk of this server took none.\n';

/** The log of one deployment: an append-only file, and the readers that follow it. */
export class DeploymentLog {
  readonly progress: Progress;
  readonly path: string;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #file: number;
  #pending: string[] = [];
  #bytes: number;
  #hasLost = false;
  #isEnded = false;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.path = path;
    this.#file = openSync(path, 'a', 0o600);
    this.#bytes = fstatSync(this.#file).size;
    this.progress = progressTo((text) => this.#append(text));
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Tells again from the first line on: what the log has already is passed over. */
  again(told: ToldLines): Progress {
    return progressTo((text) => {
      const untold = told.untold(text);
      if (untold !== '') this.#append(untold);
    });
  }

  /** No more lines come; readers end when they have read what is there. */
  end(): void {
    if (this.#isEnded) return;
    this.#flush();
    this.#isEnded = true;
    closeSync(this.#file);
    this.#changes.emit('change');
  }

  /** Resolves when there is more than `bytes`, or the log has ended. */
  async moreThan(bytes: number, signal: AbortSignal): Promise<void> {
    while (!this.#isEnded && this.#bytes <= bytes) await once(this.#changes, 'change', { signal });
  }

  #append(text: string): void {
    if (this.#isEnded) return;
    if (this.#pending.length === 0) setImmediate(() => this.#flush());
    this.#pending.push(text);
  }

  /** What one turn of the event loop printed goes to the file in one write. */
  #flush(): void {
    if (this.#pending.length === 0 || this.#isEnded) return;
    const text = this.#pending.join('');
    this.#pending = [];
    const bytes = Buffer.from(this.#hasLost ? `\n${LOST}${text}` : text);
    this.#hasLost = false;
    try {
      for (let done = 0; done < bytes.length; ) {
        const count = writeSync(this.#file, bytes, done);
        this.#bytes += count;
        done += count;
      }
    } catch {
      // A full disk costs lines of this log, and never a deployment or the server.
      this.#hasLost = true;
    }
    this.#changes.emit('change');
  }
}

/** The logs of all deployments: those that are being written and those on disk. */
export class DeploymentLogs {
  readonly #folder: string;
  readonly #open = new Map<string, DeploymentLog>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  path(tool: ToolName, id: string): string {
    return join(this.#folder, tool, `${id}.log`);
  }

  open(tool: ToolName, id: string): DeploymentLog {
    const log = new DeploymentLog(this.path(tool, id));
    this.#open.set(id, log);
    return log;
  }

  /** The log of a deployment that goes on, and a progress that tells it from the beginning. */
  async reopen(tool: ToolName, id: string): Promise<{ log: DeploymentLog; again: Progress }> {
    const told = await ToldLines.read(this.path(tool, id));
    const log = this.open(tool, id);
    return { log, again: log.again(told) };
  }

  /** Ends a log; readers that are behind read on. */
  end(id: string): void {
    this.#open.get(id)?.end();
    this.#open.delete(id);
  }

  /**
   * Deletes the oldest logs of a tool, down to the limits.
   *
   * @param mayGo - Whether the log of a deployment may be deleted; asked only of those beyond the limits.
   */
  async dropOld(tool: ToolName, mayGo: (id: string) => boolean): Promise<void> {
    const folder = dirname(this.path(tool, 'any'));
    const names = existsSync(folder) ? await readdir(folder) : [];
    // An id begins with its time.
    const ids = names.flatMap((name) => /^(.+)\.log$/.exec(name)?.[1] ?? []).sort();
    let bytes = 0;
    for (const [index, id] of ids.reverse().entries()) {
      const path = this.path(tool, id);
      const file = await stat(path).catch(noneIfGone);
      if (file === null) continue;
      bytes += file.size;
      if (index < MAX_LOGS && (bytes <= MAX_LOG_BYTES || index === 0)) continue;
      if (!this.#open.has(id) && mayGo(id)) await rm(path, { force: true });
    }
  }

  /**
   * The log from its first byte, then live until its end, as whole lines. Reads from the file at the reader's
   * own pace: a slow reader costs one chunk of memory.
   */
  async *follow(
    tool: ToolName,
    id: string,
    options: { readonly isColoured: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<string> {
    const live = this.#open.get(id) ?? null;
    const path = this.path(tool, id);
    if (!existsSync(path)) return;
    await using file = await open(path, 'r');
    let position = 0;
    let cut: Buffer = Buffer.alloc(0);
    while (!options.signal.aborted) {
      // A new one each time: a reader that waits for more holds none.
      const { buffer, bytesRead } = await file.read(
        Buffer.allocUnsafe(CHUNK_BYTES),
        0,
        CHUNK_BYTES,
        position,
      );
      position += bytesRead;
      if (bytesRead === 0) {
        if (live === null || (live.isEnded && live.bytes <= position)) break;
        await live.moreThan(position, options.signal).catch(() => undefined);
        continue;
      }
      const bytes = Buffer.concat([cut, buffer.subarray(0, bytesRead)]);
      const end = bytes.lastIndexOf(10) + 1;
      cut = Buffer.from(bytes.subarray(end));
      if (end > 0) yield paint(bytes.toString('utf8', 0, end), options.isColoured);
    }
  }
}
