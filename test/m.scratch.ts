import { inspectCommit } from '/work/main/src/git/commits.ts';
import { Repositories } from '/work/main/src/git/repositories.ts';
import { execa } from 'execa';
import { mkdtemp } from 'node:fs/promises';
const f = await mkdtemp('/tmp/atk/m-');
const r = new Repositories({ folder: f, path: process.env.PATH!, deployBranch: 'main' });
await r.ensure('t' as any);
const cwd = r.folder('t' as any);
let id = '4b825dc642cb6eb9a060e54bf8d69288fbee4904'; await execa('git',['hash-object','-t','tree','-w','/dev/null'],{cwd});
for (let l = 0; l < 12; l++) { const c = id; id = (await execa('git', ['mktree'], { cwd, input: Array.from({ length: 10 }, (_, i) => `040000 tree ${c}\td${i}\n`).join('') })).stdout; }
const commit = (await execa('git', ['-c','user.name=a','-c','user.email=a@b','commit-tree', '-m', 'x', id], { cwd })).stdout;
for (let i = 0; i < 6; i++) {
  const t = Date.now();
  const e = await Promise.race([inspectCommit(r, 't' as any, commit as any, { files: 50000, bytes: 1e9 }).catch((e) => e.message), new Promise((res) => setTimeout(res, 10000, 'HANG'))]);
  process.stdout.write(`${Date.now() - t}:${String(e).slice(0, 40)}\n`);
  if (e === 'HANG') process.exit(1);
}
