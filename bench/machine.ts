import { cpus, loadavg, release, totalmem } from 'node:os';
import { execa } from 'execa';

/** Facts of the machine on which the numbers depend, one line each. */
export interface Machine {
  readonly processor: string;
  readonly memory: string;
  readonly kernel: string;
  readonly versions: string;
}

export async function describeMachine(): Promise<Machine> {
  const all = cpus();
  const [git, ssh, apache] = await Promise.all([
    firstLine('git', ['--version']),
    firstLine('ssh', ['-V']),
    firstLine('/usr/sbin/apache2', ['-v']),
  ]);
  return {
    processor: `${all[0]?.model.trim() ?? 'unknown'}, ${all.length} cores`,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    kernel: `Linux ${release()}`,
    versions: [
      git,
      `node ${process.version}`,
      ssh.replace(/,.*/, ''),
      apache.replace(/^Server version: | \(.*/g, ''),
    ].join(' · '),
  };
}

/** The load of the last minute. Other work on the machine makes ratios noisy. */
export function load(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}

/** The commit that is measured, with the mark `-dirty` if files have changed since. */
export async function describeCommit(folder: string): Promise<string> {
  return firstLine('git', ['-C', folder, 'describe', '--always', '--dirty', '--abbrev=10']);
}

async function firstLine(file: string, args: readonly string[]): Promise<string> {
  const { all } = await execa(file, args, { all: true, reject: false, stdin: 'ignore' });
  return all?.split('\n')[0] ?? `no ${file}`;
}
