import { EventEmitter, once } from 'node:events';
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { noneIfGone } from '../core/errors.ts';
import { outputTime } from '../core/fair-share/time-shares.ts';
import type { ToolName } from '../core/names.ts';
import { type Progress, paint, progressTo } from '../core/progress.ts';
import { LoggedLines } from './reconciliation/logged-lines.ts';

/** How much of a log a reader reads in one step. Each reader needs memory for a few such chunks. */
const CHUNK_BYTES = 16 * 1024;
/** The server deletes the oldest logs of a tool that has more than `MAX_LOGS` logs or `MAX_LOG_BYTES` of logs. */
const MAX_LOGS = 200;
const MAX_LOG_BYTES = 1024 * 1024 * 1024;
const DAY_MS = 24 * 60 * 60 * 1000;
const LOST = ' !     Lines are missing here: this server could not write them to its disk.\n';

/** The append-only log file of one deployment. Wakes waiting readers when the log grows or ends. */
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

  /**
   * Returns a `Progress` for a resumed build, which repeats its output from the first line. This `Progress` skips the
   * lines that the log already has.
   */
  again(told: LoggedLines): Progress {
    return progressTo((text) => {
      const untold = told.untold(text);
      if (untold !== '') this.#append(untold);
    });
  }

  /** Closes the log. Each reader ends when it has read the whole log. */
  end(): void {
    if (this.#isEnded) return;
    this.#flush();
    this.#isEnded = true;
    closeSync(this.#file);
    this.#changes.emit('change');
  }

  /** Resolves when the log is longer than `bytes`, or has ended. @throws AbortError if the signal fires first. */
  async moreThan(bytes: number, signal: AbortSignal): Promise<void> {
    while (!this.#isEnded && this.#bytes <= bytes) await once(this.#changes, 'change', { signal });
  }

  #append(text: string): void {
    if (this.#isEnded) return;
    if (this.#pending.length === 0) setImmediate(() => this.#flush());
    this.#pending.push(text);
  }

  /** Writes to the file the lines that came in one turn of the event loop. If that fails, the lines are lost. */
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
      // Only note the loss: if the disk is full, this log loses lines, but the deployment and the server continue.
      this.#hasLost = true;
    }
    this.#changes.emit('change');
  }
}

/** Opens, follows and deletes the log files of all deployments. */
export class DeploymentLogs {
  readonly #folder: string;
  readonly #days: number;
  readonly #open = new Map<string, DeploymentLog>();

  /** @param days - How many days the logs are kept at most. 0: no limit. */
  constructor(folder: string, days = 0) {
    this.#folder = folder;
    this.#days = days;
  }

  path(tool: ToolName, id: string): string {
    return join(this.#folder, tool, `${id}.log`);
  }

  open(tool: ToolName, id: string): DeploymentLog {
    const log = new DeploymentLog(this.path(tool, id));
    this.#open.set(id, log);
    return log;
  }

  /** Opens the log of a resumed deployment, and returns a `Progress` that skips the lines that the log already has. */
  async reopen(tool: ToolName, id: string): Promise<{ log: DeploymentLog; again: Progress }> {
    const told = await LoggedLines.read(this.path(tool, id));
    const log = this.open(tool, id);
    return { log, again: log.again(told) };
  }

  /** Ends the log of a deployment. Readers that have not reached its end keep reading. */
  end(id: string): void {
    this.#open.get(id)?.end();
    this.#open.delete(id);
  }

  /**
   * Deletes each log of a tool that, counted from the newest, is beyond `MAX_LOGS` or `MAX_LOG_BYTES`, or that ended
   * more than `days` ago. Keeps open logs and the logs for which `mayGo` returns false. Keeps the newest log, unless it
   * is too old.
   *
   * @param mayGo - True if the log of this deployment may be deleted. Called only for logs beyond these limits.
   * @param now - The present time, in milliseconds since 1970. 0 if no log may be deleted because of its age.
   */
  async dropOld(tool: ToolName, mayGo: (id: string) => boolean, now: number): Promise<void> {
    const oldest = this.#days === 0 ? 0 : now - this.#days * DAY_MS;
    const folder = dirname(this.path(tool, 'any'));
    const names = existsSync(folder) ? await readdir(folder) : [];
    // Sort the ids, and so the logs by time, because each id begins with the time at which it was made.
    const ids = names.flatMap((name) => /^(.+)\.log$/.exec(name)?.[1] ?? []).sort();
    let bytes = 0;
    for (const [index, id] of ids.reverse().entries()) {
      const path = this.path(tool, id);
      const file = await stat(path).catch(noneIfGone);
      if (file === null) continue;
      bytes += file.size;
      const isWithin = index < MAX_LOGS && (bytes <= MAX_LOG_BYTES || index === 0);
      if (isWithin && file.mtimeMs >= oldest) continue;
      if (!this.#open.has(id) && mayGo(id)) await rm(path, { force: true });
    }
  }

  /**
   * Yields the log from its first byte in chunks of whole lines, then follows the log until it ends or the signal
   * fires. Yields nothing if there is no log. Each reader reads the file at its own pace, so a slow reader delays
   * nobody.
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
      // Each read allocates a new buffer, so that a reader that waits holds no buffer.
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
      if (end > 0)
        yield await outputTime.run(tool, () => paint(bytes.toString('utf8', 0, end), options.isColoured));
    }
  }
}
