import { dirname, isAbsolute, join } from 'node:path';
import type { Writable } from 'node:stream';
import type { Config } from '../../config.ts';
import type { Audit } from '../../core/log/audit.ts';
import { sentence } from '../../core/text/sentence.ts';
import type { CommandShape } from '../command.ts';
import { warning } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { OPERATOR, type OperatorLine, runOperatorCommand } from './operator-command.ts';

const WHAT = ['store', 'directory', 'repositories', 'artifacts', 'releases', 'config-vars'] as const;

interface RecoveryCommand extends CommandShape {
  run(
    config: Config,
    args: readonly string[],
    context: RecoveryContext,
  ): Promise<{ status: number; lines: string[] }>;
}

interface RecoveryContext {
  /** The value of the environment variable PATH for git. */
  readonly path: string;
  /** Standard output. `backup -` writes its archive there. */
  readonly stdout: Writable;
  /** Error output, where `backup -` says what its archive does not contain. */
  readonly err: (text: string) => Promise<void>;
  /**
   * Stops the running server from deleting and merging files until the returned function is called. Null if no server
   * runs.
   */
  readonly holdCleanUp: () => Promise<(() => Promise<void>) | null>;
  /** Returns a signal that the first Ctrl-C fires. From this call on, only the second Ctrl-C ends the process. */
  readonly interruption: () => AbortSignal;
}

const doctor: RecoveryCommand = {
  name: 'doctor',
  usage: '',
  summary: 'check the data folder for damage, and say what to do',
  examples: ['doctor'],
  details: [
    'Compares the store, the repositories, the artifacts, the user directory and the keys with each other. Changes nothing. The server may run or not.',
    'The exit status is 0 if the data folder is whole, or if the next start of the server repairs it. Otherwise it is 1.',
  ],
  options: {},
  words: { min: 0, max: 0 },
  async run(config) {
    const [{ readDataFacts }, { examine }] = await Promise.all([
      import('../../recovery/data-facts.ts'),
      import('../../recovery/examine.ts'),
    ]);
    const facts = await readDataFacts(config);
    const findings = examine(facts);
    const kept = facts.setAside.map((name) => `Set aside earlier, kept for 30 days: set-aside/${name}\n`);
    const told = findings.map(({ kind, what, advice }) => {
      const then = { refuses: 'The server does not start until this is repaired.', act: '', repaired: '' }[
        kind
      ];
      return warning([sentence(what), then].filter((text) => text !== '').join(' '), advice);
    });
    const whole = findings.length === 0 ? [`The data folder ${config.data} is whole.\n`] : [];
    const isFine = findings.every(({ kind }) => kind === 'repaired');
    return { status: isFine ? 0 : 1, lines: [...whole, ...told, ...kept] };
  },
};

const backup: RecoveryCommand = {
  name: 'backup',
  usage: 'FILE|FOLDER|-',
  summary: 'write everything of this server into one file, also while the server runs',
  examples: ['backup /srv/backups/'],
  details: [
    'The file has the store, the repositories, the artifacts, the logs, the user directory and the keys. With it, anybody can read all config vars in the store. Keep it where only you can read it. Your settings and config vars from outside are not in it, and in a cluster the images are not, because they are in the registry.',
    'If a push is under way, the restored server treats it as if the server had crashed when the backup began.',
    'In a FOLDER, the file gets a name with the time. With -, the archive goes to standard output. It is a tar archive with a checksum at its end.',
  ],
  options: {},
  words: { min: 1, max: 1 },
  async run(config, [target = ''], { path, stdout, err, holdCleanUp, interruption }) {
    const { backUp } = await import('../../recovery/archive/back-up.ts');
    const signal = interruption();
    const lines = await backUp({ config, path, target, out: stdout, holdCleanUp, signal });
    if (target !== '-') return { status: 0, lines: lines.map((line) => `${line}\n`) };
    for (const line of lines) await err(`${line}\n`);
    return { status: 0, lines: [] };
  },
};

const restore: RecoveryCommand = {
  name: 'restore',
  usage: 'BACKUP | store|directory [FILE]',
  summary: 'restore everything from a backup, or only the store or the user directory',
  examples: ['restore toolforge-push.tar', 'restore store'],
  details: [
    'BACKUP is a file that the command `backup` has written. It is restored into an empty data folder, on this machine or another, while no server uses that folder. A damaged file changes nothing.',
    'Restore only a backup that you made and that nobody else could change. A changed file can take over the server: the checksum only shows that the file is complete.',
    '`restore store` and `restore directory` restore only this part: from FILE, or from the newest good copy in the folder backups of the data folder, where the server makes a copy every hour. The present store or user directory is set aside, not deleted.',
    'Stop the server before you restore the store. If a tool has releases that are newer than the restored store, the next start of the server reads them from the folder releases of the data folder.',
  ],
  options: {},
  words: { min: 1, max: 2 },
  async run(config, [what, file]) {
    const { restoreDirectory, restoreStore } = await import('../../recovery/restore.ts');
    if (what !== 'store' && what !== 'directory') {
      if (what === undefined || file !== undefined || !/[./]/.test(what))
        throw new UsageError('restore takes a backup file, or the word store or directory.');
      const { restoreBackup } = await import('../../recovery/archive/restore-backup.ts');
      return { status: 0, lines: (await restoreBackup(config, what)).map((line) => `${line}\n`) };
    }
    const path = file === undefined || isAbsolute(file) ? (file ?? null) : found(config.data, file);
    const done = what === 'store' ? restoreStore(config, path) : restoreDirectory(config, path);
    return { status: 0, lines: (await done).map((line) => `${line}\n`) };
  },
};

const startOver: RecoveryCommand = {
  name: 'start-over',
  usage: 'WHAT',
  summary: 'go on without a lost part of the data; `doctor` says when to do so',
  examples: ['start-over store'],
  details: [`WHAT is one of ${WHAT.join(', ')}. The present data is set aside, not deleted.`],
  options: {},
  words: { min: 1, max: 1 },
  async run(config, [given], { path }) {
    const what = WHAT.find((name) => name === given);
    if (what === undefined) throw new UsageError(`start-over takes one of ${WHAT.join(', ')}.`);
    const { startOvers } = await import('../../recovery/start-over.ts');
    return { status: 0, lines: (await startOvers[what](config, path)).map((line) => `${line}\n`) };
  },
};

/** The commands that work on the data folder itself. Only people who may write that folder can use them. */
export const recoveryCommands: readonly RecoveryCommand[] = [doctor, backup, restore, startOver];

/** Runs one of `recoveryCommands`. @returns the exit status. @throws DeployError if the command fails. */
export async function runRecovery(
  line: OperatorLine & RecoveryContext & { readonly config: Config; readonly audit: Audit },
): Promise<number> {
  const { config, audit, out } = line;
  try {
    return await runOperatorCommand(recoveryCommands, line, async (command, { positionals }) => {
      const { status, lines } = await command.run(config, positionals, line);
      if (command !== doctor)
        audit({ what: command.name, who: OPERATOR, tool: null, facts: { words: positionals } });
      await out(lines.join(''));
      return status;
    });
  } catch (error) {
    const { diskFault } = await import('../../recovery/disk-fault.ts');
    throw diskFault(error);
  }
}

/**
 * Puts the path of the data folder before a path `backups/NAME`, because `doctor` prints such a path. Returns every
 * other path unchanged.
 */
function found(data: string, file: string): string {
  return dirname(file) === 'backups' ? join(data, file) : file;
}
