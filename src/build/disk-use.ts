import { execa } from 'execa';
import { mebibytes } from './build-failures.ts';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/**
 * Bytes on disk of everything below a folder. `du` walks by file descriptors and follows no symbolic link, so
 * it can be asked while a stranger's code works in there; files that vanish meanwhile do not matter.
 */
export async function diskUse(folder: string, signal: AbortSignal): Promise<number> {
  const lines = await du(['-s', '-k', '-x', folder], signal);
  return lines[0]?.bytes ?? 0;
}

/** The three largest places of a build, as its code calls them: `/workspace/data (900 MiB), …`. */
export async function largestFolders(folder: string, signal: AbortSignal): Promise<string> {
  const entries = await du(['-a', '-k', '-x', '-d', '3', folder], signal);
  const places = entries
    .map(({ bytes, path }) => ({ bytes, path: path.slice(folder.length) }))
    .filter(({ path }) => isPlace(path))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 3);
  const named = places.map(({ bytes, path }) => {
    const shown = path.replace(/^\/scratch/, '').replace(/[^\x20-\x7e]/g, '?');
    return `${shown} (${mebibytes(bytes)})`;
  });
  return named.join(', ');
}

/** One level below /workspace and the temporary folders, two below /layers: where a person can do something. */
function isPlace(path: string): boolean {
  return /^\/(workspace\/[^/]+|layers\/[^/]+\/[^/]+|scratch\/(tmp|home))$/.test(path);
}

async function du(argv: string[], signal: AbortSignal): Promise<{ bytes: number; path: string }[]> {
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
