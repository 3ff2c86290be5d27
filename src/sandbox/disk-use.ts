import { execa } from 'execa';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/**
 * Bytes on disk of everything below a folder. `du` walks by file descriptors and follows no symbolic link, so
 * it can be asked while a stranger's code works in there; files that vanish meanwhile do not matter.
 */
export async function diskUse(folder: string, signal: AbortSignal): Promise<number> {
  const lines = await du(['-s', '-k', '-x', folder], signal);
  return lines[0]?.bytes ?? 0;
}

/** What `du` says of each place, by its arguments: see du(1). */
export async function du(
  argv: readonly string[],
  signal: AbortSignal,
): Promise<{ bytes: number; path: string }[]> {
  const result = await execa('du', argv, {
    env: environment,
    extendEnv: false,
    cancelSignal: signal,
    reject: false,
    stdin: 'ignore',
    stderr: 'ignore',
    maxBuffer: 16 * 1024 * 1024,
  });
  signal.throwIfAborted();
  return result.stdout.split('\n').flatMap((line) => {
    const [, kibibytes, path] = /^(\d+)\t(.*)$/.exec(line) ?? [];
    return kibibytes === undefined || path === undefined ? [] : [{ bytes: Number(kibibytes) * 1024, path }];
  });
}
