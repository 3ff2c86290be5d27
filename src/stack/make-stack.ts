import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from '../core/disk/remove-tree.ts';
import { noneIfGone } from '../core/errors.ts';
import type { Progress } from '../core/progress.ts';
import { took } from '../core/text/duration.ts';
import { fetchPackages } from './debian-packages.ts';
import { makeTree } from './debian-tree.ts';
import type { PackageList } from './package-list.ts';
import { stackNotMade } from './stack-faults.ts';
import { assertCanMake } from './stack-machine.ts';
import { describeStack, listStacks, madeAfter, type Stack, stacksFolder, type TreeName } from './stacks.ts';

export interface MakeOptions {
  /** The data folder. */
  readonly data: string;
  readonly list: PackageList;
  /** The address of Debian's packages, such as `http://deb.debian.org/debian`. */
  readonly mirror: string;
  readonly progress: Progress;
}

/**
 * The finished trees of an interrupted attempt to make a stack may be used until this many milliseconds after the
 * attempt began. Older trees may lack security updates.
 */
const FRESH_MS = 24 * 60 * 60 * 1000;
// `run` is made first. So if an interrupted attempt has finished `build`, both trees exist.
const TREES: readonly TreeName[] = ['run', 'build'];

/**
 * Makes a new stack. New builds use it at once. If the call is interrupted, there is no new stack. The next call does
 * not download again what the interrupted call has downloaded. It also uses the finished trees, if it has the same list
 * and mirror and the interrupted call began less than a day before.
 *
 * @throws DeployError `STACK_NOT_MADE` with the reason, such as a full disk or a program that is missing.
 */
export async function makeStack(options: MakeOptions): Promise<Stack> {
  const { data, list, progress } = options;
  return await withTrees(options, async (trees) => {
    const stacks = await listStacks(data);
    const versions = stacks.filter(({ name }) => name === list.suite).map(({ version }) => version);
    const version = Math.max(0, ...versions) + 1;
    const stack: Stack = {
      id: `${list.suite}-${version}`,
      name: list.suite,
      version,
      packages: list.hash,
      madeAt: madeAfter(stacks),
    };
    const folder = join(stacksFolder(data), `${stack.id}.new`);
    await removeTree(folder);
    await mkdir(folder);
    await rename(trees, join(folder, 'trees-1'));
    await symlink('trees-1', join(folder, 'trees'));
    await describeStack(folder, stack);
    await rename(folder, join(stacksFolder(data), stack.id));
    progress.result(`Stack ${stack.id}: new builds use it`);
    return stack;
  });
}

/**
 * Makes both trees of the newest stack again, with the security updates of Debian. A process of a tool gets the new
 * tree when it starts again.
 *
 * @throws DeployError `STACK_NOT_MADE` if there is no stack, if the list of packages has changed, or as `makeStack`
 * does.
 */
export async function updateStack(options: MakeOptions): Promise<Stack> {
  const { data, list, progress } = options;
  const [stack] = await listStacks(data);
  if (stack === undefined)
    throw stackNotMade('there is no stack to update', 'Make one: npx toolforge-push stack make');
  if (stack.packages !== list.hash)
    throw stackNotMade(
      `the list of packages has changed since ${stack.id} was made`,
      'Make a new stack, which tools get by a rebuild: npx toolforge-push stack make',
    );
  return await withTrees(options, async (trees) => {
    const folder = join(stacksFolder(data), stack.id);
    const numbers = (await readdir(folder)).map((name) => Number(/^trees-(\d+)$/.exec(name)?.[1] ?? 0));
    const name = `trees-${Math.max(...numbers) + 1}`;
    await rename(trees, join(folder, name));
    await rm(join(folder, 'trees.new'), { force: true });
    await symlink(name, join(folder, 'trees.new'));
    await rename(join(folder, 'trees.new'), join(folder, 'trees'));
    progress.result(`Stack ${stack.id} is up to date: a tool gets the updates when it restarts`);
    return stack;
  });
}

/** Makes the two trees in a folder, and passes this folder to `use`, which moves it. */
async function withTrees(options: MakeOptions, use: (trees: string) => Promise<Stack>): Promise<Stack> {
  const { data, list, mirror, progress } = options;
  await assertCanMake();
  const begun = Date.now();
  // The system users of tools must be able to read the trees, so everybody may read the folders that are made below.
  process.umask(0o022);
  const folder = join(stacksFolder(data), 'making');
  const trees = join(folder, 'trees');
  await mkdir(folder, { recursive: true, mode: 0o755 });
  await using _lock = await onlyOne(folder);
  await keepFresh(folder, trees, `${list.hash} ${mirror}`);
  const fetched = await fetchPackages(folder, list, { mirror, progress });
  for (const tree of TREES) {
    const target = join(trees, tree);
    if (existsSync(target)) continue;
    progress.step(tree === 'build' ? 'Making the tree for builds' : 'Making the tree for tools');
    await makeTree(target, {
      suite: list.suite,
      packages: list.packages[tree],
      fetched,
      log: join(folder, 'log'),
      progress,
    });
  }
  const stack = await use(trees);
  await removeTree(folder);
  progress.line(`made in ${took(Date.now() - begun)}`);
  return stack;
}

/**
 * Removes the trees of an interrupted attempt to make a stack, if that attempt used another package list or mirror, or
 * began more than a day ago.
 */
async function keepFresh(folder: string, trees: string, key: string): Promise<void> {
  const file = join(folder, 'begun');
  const [at, ...of] = ((await readFile(file, 'utf8').catch(noneIfGone)) ?? '').split(' ');
  if (of.join(' ') !== key || Date.now() - Number(at) > FRESH_MS) {
    await removeTree(trees);
    await rm(join(folder, 'log'), { force: true });
    await writeFile(file, `${Date.now()} ${key}`);
  }
  await mkdir(trees, { recursive: true, mode: 0o755 });
}

/**
 * Makes sure that only one process at a time makes trees in this folder. Ignores the lock of a process that has ended,
 * even if another process has the same process id now, as in a container that was started again.
 */
async function onlyOne(folder: string): Promise<AsyncDisposable> {
  const file = join(folder, 'pid');
  const [holder, started] = ((await readFile(file, 'utf8').catch(noneIfGone)) ?? '').split(' ');
  if (started !== undefined && (await startOf(Number(holder))) === started)
    throw stackNotMade(`process ${holder} is already making a stack`, 'Wait until that process has ended.');
  await rm(file, { force: true });
  await writeFile(file, `${process.pid} ${await startOf(process.pid)}`, { flag: 'wx' });
  return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
}

/** When a process started, in clock ticks since this machine booted: proc_pid_stat(5). Null if there is no process. */
async function startOf(pid: number): Promise<string | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  // The name of the program is in parentheses and may have spaces.
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}
