import { appendFileSync, chownSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Audit } from '../core/log/audit.ts';
import type { Log } from '../core/log/log.ts';

/**
 * Appends events to the audit log, `audit.log` in the data folder, one JSON line each. The file is opened for each
 * line, so that logrotate can move it at any time.
 */
export function auditFile(dataFolder: string, log: Pick<Log, 'error'>): Audit {
  const path = join(dataFolder, 'audit.log');
  let isTorn = false;
  return ({ what, who, tool, facts }) => {
    const { uid, door, credential, address } = who;
    const line = { time: new Date().toISOString(), what, tool, uid, door, credential, address, ...facts };
    try {
      const isNew = !existsSync(path);
      // After a failed write, for example on a full disk, the file may end with half a line. Begin a new line after it.
      appendFileSync(path, `${isTorn ? '\n' : ''}${plainJson(line)}\n`, { mode: 0o600 });
      isTorn = false;
      if (isNew && process.getuid?.() === 0) leaveToServer(path, dataFolder);
    } catch (err) {
      isTorn = true;
      log.error({ err, event: line }, 'audit log not written');
    }
  };
}

/** If a command that root ran created the file, gives it to the account that the server runs under. */
function leaveToServer(path: string, dataFolder: string): void {
  const { uid, gid } = statSync(dataFolder);
  chownSync(path, uid, gid);
}

/** The most characters of one text. People choose names and words, and the file is never shortened. */
const MAX_TEXT = 300;

function cut(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT - 1)}…` : value;
}

/** Writes JSON that also escapes DEL, C1 and direction marks, because these could control a reader's terminal. */
function plainJson(value: object): string {
  return JSON.stringify(value, cut).replace(
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
