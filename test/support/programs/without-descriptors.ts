// A separate process that starts something while few file descriptors are left. Its arguments are a name in `starts`
// and a folder. It tries with no descriptor left, with one, and so on up to 20, because each step of a start may be the
// one that gets none. It prints how each try ends, and then how a try with all descriptors ends.
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { startGit } from '../../../src/git/git-process.ts';
import { RefTransaction } from '../../../src/git/refs/ref-transaction.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { ServedRepository } from '../../../src/http/git/served-repository.ts';
import type { Cgroup } from '../../../src/sandbox/process/cgroups.ts';
import { exitOf, startInCgroup } from '../../../src/sandbox/process/sandbox-child.ts';
import { wikibot } from '../store-records.ts';

/** More descriptors than any of `starts` needs. */
const MAX_FREE = 20;

const [what = '', folder = ''] = process.argv.slice(2);
const path = process.env['PATH'] ?? '';
const repositories = new Repositories({ folder: join(folder, 'repositories'), path, deployBranch: 'main' });
const environment = repositories.environment();
const repository = { folder: await repositories.ensure(wikibot), environment };
const served = ServedRepository.open(repository);

const starts: Readonly<Record<string, () => Promise<unknown>>> = {
  ssh: async () => await startGit(['--version'], environment).status,
  transaction: async () => {
    await using _transaction = await RefTransaction.prepare(repositories, wikibot, []);
  },
  advertisement: async () => (await text(served.advertise('upload-pack'))).length > 0,
  service: async () => {
    const output = new PassThrough().resume();
    const run = served.run('upload-pack', output);
    output.on('error', () => undefined);
    run.input.end('0000');
    const { code, complaint } = await run.exited;
    if (code === null) throw new Error(complaint);
  },
  sandbox: async () => {
    const group = { entrances: [], remove: async () => undefined } as unknown as Cgroup;
    const options = { env: { PATH: path }, cwd: folder, input: '', pipeFolder: folder };
    await exitOf(startInCgroup(group, ['true'], options).child);
  },
};

const start = starts[what] ?? (() => Promise.reject(new Error(`there is no start named ${what}`)));
const told = () =>
  start().then(
    () => 'started',
    (error: Error) => `refused: ${error.message}`,
  );

function takeAll(): number[] {
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'));
  } catch {
    return taken;
  }
}

// Start once before, so that all modules are loaded.
await told();
for (let free = 0; free <= MAX_FREE; free++) {
  const taken = takeAll();
  for (const descriptor of taken.splice(0, free)) closeSync(descriptor);
  process.stdout.write(`${await told()}\n`);
  await new Promise((resolve) => setImmediate(resolve));
  for (const descriptor of taken) closeSync(descriptor);
}
process.stdout.write(`${await told()}\n`);
