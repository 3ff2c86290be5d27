import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { ToolName } from '../../../src/core/names.ts';
import { sourceEntries } from '../../../src/git/archive/archive-entries.ts';
import { commitEntries } from '../../../src/git/archive/commit-entries.ts';
import type { TreeLimits } from '../../../src/git/commits.ts';
import { Repositories } from '../../../src/git/repositories.ts';

/** A repository in which tests commit the files of archives. */
export class ArchivePlace implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'archives-'));
  readonly tool = 'hello' as ToolName;
  readonly repositories = new Repositories({
    folder: join(this.folder, 'repositories'),
    path: process.env['PATH'] ?? '',
    deployBranch: 'main',
  });

  /** Commits a tar as the server does. @returns the id of the tree, and its files as `git ls-tree` lists them. */
  async commit(
    tar: Uint8Array | AsyncIterable<Uint8Array>,
    limits: TreeLimits = { files: 1000, bytes: 4 * 1024 ** 2 },
  ): Promise<{ readonly tree: string; readonly files: string[] }> {
    const { repositories, tool } = this;
    await repositories.ensure(tool);
    const words = { name: 'alice', email: 'alice@example.org', message: 'Test' };
    const entries = sourceEntries(tar instanceof Uint8Array ? inPieces(tar) : tar, limits, tool);
    const { signal } = new AbortController();
    await using made = await commitEntries(
      repositories,
      { tool, parent: null, words },
      entries,
      async () => {},
      signal,
    );
    // As at a push, git checks all objects.
    if (made.pack !== null)
      await execa('git', ['index-pack', '--strict', '--stdin'], {
        cwd: repositories.folder(tool),
        env: repositories.environment([], { GIT_DIR: repositories.folder(tool) }),
        inputFile: made.pack,
      });
    const listed = await repositories.git(tool, ['ls-tree', '-r', '-z', made.commit]);
    return {
      tree: made.tree,
      files: listed.split('\0').flatMap((line) => {
        const [, mode = '', path = ''] = /^(\d+) \S+ \S+\t(.*)$/s.exec(line) ?? [];
        return path === '' ? [] : [`${mode} ${path}`];
      }),
    };
  }

  async content(tree: string, path: string): Promise<string> {
    return await this.repositories.git(this.tool, ['cat-file', 'blob', `${tree}:${path}`]);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** Yields bytes in pieces that do not end where the blocks of a tar end, as a network does. */
async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const size = Math.max(1009, Math.floor(bytes.length / 300));
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
}

/**
 * Makes tars by Python's tarfile, one for each piece of code. The code may call `f(name, data, **attributes)` for a file and
 * `l(name, target, type)` for a link, and use the open archive `t`.
 */
export async function pythonTars(codes: readonly string[]): Promise<Buffer[]> {
  const program = `
import io, json, sys, tarfile
for code in json.load(sys.stdin):
    bytes_of = io.BytesIO()
    t = tarfile.open(fileobj=bytes_of, mode='w|')
    def f(name, data=b'x', **attributes):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for key, value in attributes.items(): setattr(info, key, value)
        t.addfile(info, io.BytesIO(data))
    def l(name, target, type=tarfile.SYMTYPE):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = type, target
        t.addfile(info)
    exec(code)
    t.close()
    sys.stdout.buffer.write(len(bytes_of.getvalue()).to_bytes(4, 'big') + bytes_of.getvalue())
`;
  const { stdout } = await execa('python3', ['-c', program], {
    input: JSON.stringify(codes),
    encoding: 'buffer',
    maxBuffer: 2 ** 30,
  });
  let rest = Buffer.from(stdout);
  return codes.map(() => {
    const end = 4 + rest.readUInt32BE(0);
    const tar = rest.subarray(4, end);
    rest = rest.subarray(end);
    return tar;
  });
}

export async function pythonTar(code: string): Promise<Buffer> {
  const [tar = Buffer.alloc(0)] = await pythonTars([code]);
  return tar;
}

/** Runs GNU tar in a folder. @returns what it writes to standard output. */
export async function gnuTar(folder: string, ...args: string[]): Promise<Buffer> {
  const { stdout } = await execa('tar', ['-c', ...args], {
    cwd: folder,
    encoding: 'buffer',
    maxBuffer: 2 ** 30,
  });
  return Buffer.from(stdout);
}
