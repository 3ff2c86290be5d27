import {
  appendFile,
  type FileHandle,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  truncate,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { systemCode } from '../../core/errors.ts';
import { outputTime } from '../../core/fair-share/time-shares.ts';
import type { Log } from '../../core/log/log.ts';
import type { LogLine, LogQuery } from '../runtime.ts';
import { lineFilter, processFilter } from './log-filter.ts';
import { charactersOf, LineRoom, LogFollower } from './log-follower.ts';
import { lastLines } from './read-back.ts';

export interface ToolLogOptions {
  /** The tool's own log folder. It is created when the first line is written. */
  readonly folder: string;
  /**
   * The largest size of a log file, unless a single call adds more. A file that would become larger becomes the
   * previous file of its process, and replaces the one before. So each process has at most two files.
   */
  readonly sizeBytes: number;
  readonly log: Log;
  /** The memory for lines that wait for readers. Several tools' logs may share this memory. */
  readonly room?: LineRoom;
}

/** A reader asks for this many characters of memory for each old line that it wants. Hardly any line needs more. */
const LINE_CHARACTERS = 20 * 1024;
/**
 * A line in a log file may be up to this many milliseconds older than the lines before it. The lines are nearly in the
 * order of their times: after a start of the server, older lines of a pod may follow newer lines of another pod.
 */
const DISORDER_MS = 24 * 3600_000;
/**
 * How many processes of a tool may have a log. A release can give its processes new names, so the oldest logs are
 * deleted if there are more.
 */
const MAX_PROCESSES = 200;

/**
 * Stores the output of a tool's processes. `web.1.log` has lines of the form `TIMEvN TEXT`, where vN is the release, or
 * `TIME TEXT` without a release. `web.1.log.1` is the previous file. Only one task at a time has the turn to write to
 * the files or to open them. A reader that follows the log reads the older lines during its turn, so that it misses no
 * line and gets no line twice. Other readers only open the files during their turns and read them afterwards, so they
 * hardly delay new lines.
 */
export class ToolLog {
  readonly #options: ToolLogOptions;
  readonly #followers = new Set<LogFollower>();
  readonly #room: LineRoom;
  readonly #sizes = new Map<string, number>();
  #chain: Promise<unknown> = Promise.resolve();
  #isEnded = false;

  constructor(options: ToolLogOptions) {
    this.#options = options;
    this.#room = options.room ?? new LineRoom();
  }

  /**
   * Adds lines of a process to its log. Resolves when the lines are written, or lost, for example because the disk is
   * full. Never rejects.
   */
  append(process: string, texts: readonly string[], version: number | null = null): Promise<void> {
    const at = new Date().toISOString();
    return this.appendLines(texts.map((text) => ({ at, process, version, text })));
  }

  /** Adds lines of one process that already have a time. Never rejects: if the disk is full, the lines are lost. */
  appendLines(lines: readonly LogLine[]): Promise<void> {
    const process = lines[0]?.process;
    if (process === undefined) return Promise.resolve();
    return this.#inTurn(async () => {
      if (this.#isEnded) return;
      try {
        await this.#writeAnyway(process, await this.#inTime(() => lines.map(written).join('')));
      } catch (error) {
        this.#options.log.error(
          { process, code: systemCode(error) },
          'cannot write lines to the log of a tool: they are lost',
        );
      }
      for (const follower of this.#followers)
        await this.#inTime(() => {
          for (const line of lines) follower.push(line);
        });
    });
  }

  /**
   * Deletes each file whose newest line is from before this moment, in milliseconds since 1970. A current file whose
   * oldest line is from before this moment becomes the previous file of its process, so that a later call deletes it.
   */
  async dropOld(before: number): Promise<void> {
    await this.#inTurn(async () => {
      // `#files` lists the previous file of a process first. So if it is too old, it is deleted before the current file
      // gets its name.
      for (const { name, process } of await this.#files()) {
        const path = join(this.#options.folder, name);
        if ((await writtenAt(path)) < before) await rm(path, { force: true });
        else if (name.endsWith('.1') || !((await beganAt(path)) < before)) continue;
        else await rename(path, `${path}.1`);
        this.#sizes.delete(process);
      }
    });
  }

  /** Resolves when all lines are written. Lines that are added later are dropped. */
  async end(): Promise<void> {
    await this.#inTurn(async () => {
      this.#isEnded = true;
    });
  }

  /** Deletes the log. Lines that are added later are dropped. */
  async remove(): Promise<void> {
    await this.end();
    await rm(this.#options.folder, { recursive: true, force: true });
  }

  /** Yields the newest lines of the log that the query asks for, in batches. With `follow`, also yields new lines. */
  async *read(query: LogQuery): AsyncGenerator<LogLine[]> {
    using follower = new LogFollower(lineFilter(query), this.#room);
    const most = follower.reserve(query.lines * LINE_CHARACTERS);
    try {
      if (query.follow) {
        await this.#inTurn(async () => {
          this.#followers.add(follower);
          follower.begin(await this.#past(query, most, (open) => open()));
        });
      } else {
        follower.begin(await this.#past(query, most, (open) => this.#inTurn(open)));
      }
      yield* follower.batches(query.follow, query.signal);
    } finally {
      this.#followers.delete(follower);
    }
  }

  /**
   * Returns the old lines that the query asks for.
   *
   * @param most - Once the newest lines need more characters of memory than this together, no older line is returned.
   * @param turn - Calls `open`, which opens the log files of one process, while nothing is written to them.
   */
  async #past(
    query: LogQuery,
    most: number,
    turn: (open: () => Promise<FileHandle[]>) => Promise<FileHandle[]>,
  ): Promise<LogLine[]> {
    const { lines: count, signal, match } = query;
    const isWanted = lineFilter(query);
    const accepts = processFilter(query.process);
    const since = match?.since ?? null;
    const oldest = since === null ? '' : new Date(Date.parse(since) - DISORDER_MS).toISOString();
    let lines: LogLine[] = [];
    const processes = new Set((await this.#files()).map(({ process }) => process));
    for (const process of [...processes].filter(accepts)) {
      const parsed = (line: string) => parsedLine(process, line);
      const options = {
        count,
        maxCharacters: most,
        charactersOf: (line: string) => charactersOf(parsed(line)),
        isWanted: (line: string) => isWanted(parsed(line)),
        isTooOld: (line: string) => line < oldest,
        inTurn: <Result>(work: () => Result) => this.#inTime(work),
        signal,
      };
      // Without `follow`, writing to the log continues as soon as the files are open. Nothing is lost by this: an open
      // file keeps its lines, even if it is renamed or deleted.
      const files = await turn(() => this.#open(process));
      try {
        for (const file of files) {
          const last = (await lastLines(file, options)).map(parsed);
          const before = lines;
          // The sort is stable, so the lines of one process stay in order.
          lines = await options.inTurn(() => newest([...before, ...last].sort(byTime), count, most));
        }
      } finally {
        for (const file of files) await file.close();
      }
    }
    return lines;
  }

  /** Opens the log files of a process that exist: the previous file, then the current file. */
  async #open(process: string): Promise<FileHandle[]> {
    const files: FileHandle[] = [];
    for (const name of [`${process}.log.1`, `${process}.log`]) {
      try {
        files.push(await open(join(this.#options.folder, name), 'r'));
      } catch (error) {
        if (systemCode(error) === 'ENOENT') continue;
        for (const file of files) await file.close();
        throw error;
      }
    }
    return files;
  }

  /** Lists the log files. */
  async #files(): Promise<{ name: string; process: string }[]> {
    try {
      const names = await readdir(this.#options.folder);
      return names
        .sort()
        .reverse()
        .flatMap((name) => {
          const process = /^(.+)\.log(\.1)?$/.exec(name)?.[1];
          return process === undefined ? [] : [{ name, process }];
        });
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw error;
    }
  }

  /** Appends text to the log of a process, even if somebody has deleted the file or its folder. */
  async #writeAnyway(process: string, text: string): Promise<void> {
    try {
      await this.#write(process, text);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      this.#sizes.delete(process);
      await this.#write(process, text);
    }
  }

  async #write(process: string, text: string): Promise<void> {
    const path = join(this.#options.folder, `${process}.log`);
    const size = this.#sizes.get(process) ?? (await sizeOf(path));
    const bytes = Buffer.byteLength(text);
    const isFull = size > 0 && size + bytes > this.#options.sizeBytes;
    if (isFull) await rename(path, `${path}.1`);
    else if (size === 0) await this.#makePlace();
    const before = isFull ? 0 : size;
    this.#sizes.set(process, before);
    try {
      await appendFile(path, text, { mode: 0o600 });
      this.#sizes.set(process, before + bytes);
    } catch (error) {
      // If the disk is full, a part of the text may have been written. Remove that part.
      if ((await sizeOf(path)) > before) await truncate(path, before);
      throw error;
    }
  }

  /**
   * Makes place for the log of a process that has none yet: if `MAX_PROCESSES` have a log, deletes the logs that have
   * had no new line for the longest time.
   */
  async #makePlace(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const processes = [...new Set((await this.#files()).map(({ process }) => process))];
    if (processes.length < MAX_PROCESSES) return;
    const aged = await Promise.all(
      processes.map(async (process) => ({ process, at: await writtenAt(join(folder, `${process}.log`)) })),
    );
    const oldest = aged.sort((a, b) => a.at - b.at).slice(0, processes.length - MAX_PROCESSES + 1);
    for (const { process } of oldest) {
      for (const name of [`${process}.log`, `${process}.log.1`])
        await rm(join(folder, name), { force: true });
      this.#sizes.delete(process);
    }
  }

  /** Runs a short piece of work for this log. `outputTime` limits the time for such work, and shares it among tools. */
  #inTime<Result>(work: () => Result): Promise<Result> {
    return outputTime.run(basename(this.#options.folder), work);
  }

  #inTurn<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.#chain.then(action);
    this.#chain = result.catch(() => {});
    return result;
  }
}

/** The length of a time: ISO 8601, UTC, with milliseconds. */
const TIME_LENGTH = 24;

function written({ at, version, text }: LogLine): string {
  return `${at}${version === null ? '' : `v${version}`} ${text}\n`;
}

/**
 * Reads a line of a log file. `version` is null if the line names no release: early versions of this server wrote no
 * releases.
 */
function parsedLine(process: string, line: string): LogLine {
  const [mark = '', number] = /^v(\d+)(?= )/.exec(line.slice(TIME_LENGTH, TIME_LENGTH + 20)) ?? [];
  return {
    at: line.slice(0, TIME_LENGTH),
    process,
    version: number === undefined ? null : Number(number),
    text: line.slice(TIME_LENGTH + mark.length + 1),
  };
}

function byTime(a: LogLine, b: LogLine): number {
  if (a.at === b.at) return 0;
  return a.at < b.at ? -1 : 1;
}

/**
 * Returns the last lines, at most `count`. Stops at the line with which they need more than `maxCharacters` of memory,
 * and returns this line too. So the caller sees that older lines are left out.
 */
function newest(lines: readonly LogLine[], count: number, maxCharacters: number): LogLine[] {
  let first = lines.length;
  for (let characters = 0; first > 0 && lines.length - first < count && characters <= maxCharacters; ) {
    first -= 1;
    characters += charactersOf(lines[first] as LogLine);
  }
  return lines.slice(first);
}

async function sizeOf(path: string): Promise<number> {
  return (await statOf(path))?.size ?? 0;
}

async function writtenAt(path: string): Promise<number> {
  return (await statOf(path))?.mtimeMs ?? 0;
}

/** The time of the first line of a file. NaN if the file has no line. */
async function beganAt(path: string): Promise<number> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(24), 0, 24, 0);
  return Date.parse(buffer.toString('latin1', 0, bytesRead));
}

async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}
