import { join } from 'node:path';
import type { Config } from '../../config.ts';
import type { Log } from '../../core/log/log.ts';
import { LineRoom } from './log-follower.ts';
import { ToolLog } from './tool-log.ts';

export interface ToolLogsOptions {
  readonly config: Pick<Config, 'data' | 'log_size'>;
  readonly log: Log;
}

/** Opens the log of each tool, which is the folder `logs/TOOL` of the data folder. */
export class ToolLogs {
  readonly #options: ToolLogsOptions;
  readonly #logs = new Map<string, ToolLog>();
  readonly #room = new LineRoom();

  constructor(options: ToolLogsOptions) {
    this.#options = options;
  }

  of(tool: string): ToolLog {
    const { config, log } = this.#options;
    const known = this.#logs.get(tool);
    if (known !== undefined) return known;
    const folder = join(config.data, 'logs', tool);
    const made = new ToolLog({ folder, sizeBytes: config.log_size, log, room: this.#room });
    this.#logs.set(tool, made);
    return made;
  }

  /**
   * Stops writing to the log of a tool that gets another name. Lines that arrive later are dropped: the last output of
   * a process may arrive after the process has ended.
   */
  async letGo(tool: string): Promise<void> {
    const log = this.of(tool);
    this.#logs.delete(tool);
    await log.end();
  }

  /**
   * Deletes the log of a tool. Lines that arrive later are dropped: the last output of a process may arrive after the
   * process has ended.
   */
  async remove(tool: string): Promise<void> {
    const log = this.of(tool);
    this.#logs.delete(tool);
    await log.remove();
  }
}
