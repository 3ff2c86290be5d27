import { appendFileSync, chownSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Audit, AuditEvent } from '../core/log/audit.ts';
import type { Log } from '../core/log/log.ts';
import { withoutToken } from '../core/masking/without-token.ts';
import { escapeControls } from '../core/text/escape-controls.ts';

/**
 * The limits of a log file of audit events. A full file gets the time in its name; the oldest such files are deleted.
 */
export interface AuditLimits {
  readonly name: string;
  readonly fileBytes: number;
  /** How many full log files are kept, in addition to the file to which the server writes now. */
  readonly kept: number;
}

const MAX_AUDIT_BYTES = 256 * 1024 * 1024;
const MAX_AUDIT_FILES = 7;
const MAX_REFUSED_BYTES = 64 * 1024 * 1024;
const MAX_REFUSED_FILES = 1;
/** One person may fill an eighth of `audit.log`. Further events of this person go to `excess.log`. */
const SHARES = 8;

/** The limits of `audit.log`, which says what people and deploy tokens did. */
export const ACTIONS: AuditLimits = { name: 'audit', fileBytes: MAX_AUDIT_BYTES, kept: MAX_AUDIT_FILES };
/** The limits of `refused.log`. Refused logins have a file of their own, so that they never fill `audit.log`. */
export const REFUSALS: AuditLimits = {
  name: 'refused',
  fileBytes: MAX_REFUSED_BYTES,
  kept: MAX_REFUSED_FILES,
};
/**
 * The limits of `excess.log`. The file gets the events of people who have filled their share of `audit.log`, so that
 * nobody fills the whole `audit.log`.
 */
export const EXCESS: AuditLimits = { name: 'excess', fileBytes: MAX_REFUSED_BYTES, kept: MAX_REFUSED_FILES };

/**
 * Appends each event as one JSON line to a file in the data folder: a refused login to `refused.log`, an event of a
 * person who has filled their share of `audit.log` to `excess.log`, and every other event to `audit.log`. The file is
 * opened for each line, so that logrotate can move it at any time.
 */
export function auditFile(
  dataFolder: string,
  log: Pick<Log, 'error'>,
  { actions, refusals, excess } = { actions: ACTIONS, refusals: REFUSALS, excess: EXCESS },
): Audit {
  /** How many bytes this process has written to the present `audit.log` for each person. */
  const shares = new Map<string, number>();
  const toActions = appender(dataFolder, log, actions, () => shares.clear());
  const toRefusals = appender(dataFolder, log, refusals);
  const toExcess = appender(dataFolder, log, excess);
  return (event) => {
    const { uid } = event.who;
    if (event.what === 'login refused') toRefusals(event);
    else if ((shares.get(uid) ?? 0) >= actions.fileBytes / SHARES) toExcess(event);
    else {
      const bytes = toActions(event);
      shares.set(uid, (shares.get(uid) ?? 0) + bytes);
    }
  };
}

/**
 * Makes the writer of one log file of audit events.
 *
 * @param onNew - Called when a new file begins.
 * @returns a function that appends an event, and returns how many bytes it wrote. 0 if the write failed.
 */
function appender(
  dataFolder: string,
  log: Pick<Log, 'error'>,
  { name, fileBytes, kept }: AuditLimits,
  onNew: () => void = () => {},
): (event: AuditEvent) => number {
  const path = join(dataFolder, `${name}.log`);
  let isTorn = false;
  return ({ what, who, tool, facts }) => {
    const { uid, door, credential, address } = who;
    const time = new Date().toISOString();
    const line = plainJson({ time, what, tool, uid, door, credential, address, ...facts });
    try {
      const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? null;
      const isFull = bytes !== null && bytes >= fileBytes;
      if (isFull) moveAway(dataFolder, name, kept);
      if (bytes === null || isFull) onNew();
      // After a failed write, for example on a full disk, the file may end with half a line. Begin a new line after it.
      const text = `${isTorn ? '\n' : ''}${line}\n`;
      appendFileSync(path, text, { mode: 0o600 });
      isTorn = false;
      if ((bytes === null || isFull) && process.getuid?.() === 0) leaveToServer(path, dataFolder);
      return Buffer.byteLength(text);
    } catch (err) {
      isTorn = true;
      log.error({ err, event: JSON.parse(line) }, 'audit log not written');
      return 0;
    }
  };
}

/** Renames a full file, and deletes the oldest renamed files, so that `kept` are left. */
function moveAway(folder: string, name: string, kept: number): void {
  const time = new Date().toISOString().replaceAll(/[-:]/g, '');
  renameSync(join(folder, `${name}.log`), join(folder, `${name}-${time}.log`));
  const full = readdirSync(folder).filter(
    (file) => file.startsWith(`${name}-`) && /-\d{8}T[\d.]+Z\.log$/.test(file),
  );
  for (const file of full.sort().slice(0, -kept)) rmSync(join(folder, file), { force: true });
}

/** If a command that root ran created the file, gives it to the account that the server runs under. */
function leaveToServer(path: string, dataFolder: string): void {
  const { uid, gid } = statSync(dataFolder);
  chownSync(path, uid, gid);
}

/** The most characters of one text in an event. People choose some of these texts. */
const MAX_TEXT = 300;

/** Hides the secrets of deploy tokens, and shortens long texts. */
function safe(_key: string, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const text = withoutToken(value);
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text;
}

/** Returns an event as JSON, with the texts that `safe` returns. */
function plainJson(value: object): string {
  return escapeControls(JSON.stringify(value, safe));
}
