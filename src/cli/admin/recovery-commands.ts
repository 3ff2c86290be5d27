import { dirname, isAbsolute, join } from 'node:path';
import type { Config } from '../../config.ts';
import type { Audit } from '../../core/log/audit.ts';
import { sentence } from '../../core/text/sentence.ts';
import type { CommandShape } from '../command.ts';
import { warning } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { OPERATOR, type OperatorLine, runOperatorCommand } from './operator-command.ts';

const WHAT = ['store', 'directory', 'repositories', 'artifacts', 'releases', 'config-vars'] as const;

interface RecoveryCommand extends CommandShape {
  run(config: Config, args: readonly string[], path: string): Promise<{ status: number; lines: string[] }>;
}

const doctor: RecoveryCommand = {
  name: 'doctor',
  usage: '',
  summary: 'check the data folder for damage, and say what to do',
  details: [
    'Compares the store, the repositories, the artifacts, the user directory and the keys with each other. Changes nothing. The server may run or not.',
    'The exit status is 0 if the data folder is whole or the server repairs it itself at its next start, otherwise 1.',
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

const restore: RecoveryCommand = {
  name: 'restore',
  usage: 'store|directory [FILE]',
  summary: 'restore the store or the user directory from a backup',
  details: [
    'Without FILE, restores from the newest good backup in the data folder (backups/). The present store or user directory is set aside, not deleted.',
    'Stop the server before you restore the store. Its next start reads releases that are newer than the backup from their copies.',
  ],
  options: {},
  words: { min: 1, max: 2 },
  async run(config, [what, file]) {
    const { restoreDirectory, restoreStore } = await import('../../recovery/restore.ts');
    if (what !== 'store' && what !== 'directory') throw new UsageError('restore takes store or directory.');
    const path = file === undefined || isAbsolute(file) ? (file ?? null) : found(config.data, file);
    const done = what === 'store' ? restoreStore(config, path) : restoreDirectory(config, path);
    return { status: 0, lines: (await done).map((line) => `${line}\n`) };
  },
};

const startOver: RecoveryCommand = {
  name: 'start-over',
  usage: 'WHAT',
  summary: 'go on without a part of the data that is lost; doctor says when to do so',
  details: [`WHAT is one of ${WHAT.join(', ')}. The present data is set aside, not deleted.`],
  options: {},
  words: { min: 1, max: 1 },
  async run(config, [given], path) {
    const what = WHAT.find((name) => name === given);
    if (what === undefined) throw new UsageError(`start-over takes one of ${WHAT.join(', ')}.`);
    const { startOvers } = await import('../../recovery/start-over.ts');
    return { status: 0, lines: (await startOvers[what](config, path)).map((line) => `${line}\n`) };
  },
};

/** The commands that work on the data folder itself. Only people who may write that folder can use them. */
export const recoveryCommands: readonly RecoveryCommand[] = [doctor, restore, startOver];

/** @returns the exit status. @throws DeployError */
export async function runRecovery(
  line: OperatorLine & {
    readonly config: Config;
    /** PATH for git. */
    readonly path: string;
    readonly audit: Audit;
  },
): Promise<number> {
  const { config, path, audit, out } = line;
  try {
    return await runOperatorCommand(recoveryCommands, line, async (command, { positionals }) => {
      const { status, lines } = await command.run(config, positionals, path);
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

/** Finds a backup by the name that `doctor` prints, or else a file in the working folder. */
function found(data: string, file: string): string {
  return dirname(file) === 'backups' ? join(data, file) : file;
}
