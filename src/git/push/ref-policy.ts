import { type CommandList, hasCapability, isZero, type RefCommand } from './command-list.ts';

/** The decision about one line of a push. */
export type Fate =
  | { readonly kind: 'deploy'; readonly command: RefCommand }
  | { readonly kind: 'store'; readonly command: RefCommand }
  | { readonly kind: 'refuse'; readonly command: RefCommand; readonly reason: string };

export interface PolicyInput {
  readonly list: CommandList;
  /** The name of the deploy branch, without `refs/heads/`. */
  readonly deployBranch: string;
  /** True while the repository has the deploy branch. */
  readonly hasDeployBranch: boolean;
}

/**
 * Decides each line of a push by its ref alone; the content is checked after unpacking. With `--atomic`, one refusal
 * refuses all lines.
 */
export function judgeRefs(input: PolicyInput): Fate[] {
  const { list } = input;
  const isAtomic = hasCapability(list, 'atomic');
  const fates = list.commands.map((command) => judge(command, input, isAtomic));
  const first = fates.find((fate) => fate.kind === 'deploy');
  const single = fates.map(
    (fate): Fate =>
      fate.kind === 'deploy' && fate !== first
        ? { kind: 'refuse', command: fate.command, reason: 'only one branch deploys in a push' }
        : fate,
  );
  if (!isAtomic || !single.some((fate) => fate.kind === 'refuse')) return single;
  return single.map((fate) =>
    fate.kind === 'refuse' ? fate : { kind: 'refuse', command: fate.command, reason: 'atomic push failure' },
  );
}

function judge(command: RefCommand, input: PolicyInput, isAtomic: boolean): Fate {
  const refuse = (reason: string): Fate => ({ kind: 'refuse', command, reason });
  const { ref } = command;
  const { deployBranch } = input;
  const isDelete = isZero(command.newId);
  if (ref.startsWith('refs/heads/')) {
    const branch = ref.slice('refs/heads/'.length);
    const deploys = branch === deployBranch || (branch === 'master' && !input.hasDeployBranch);
    if (!deploys) return refuse(otherBranch(branch, deployBranch));
    if (isDelete)
      return refuse(`${branch} is live and cannot be deleted; to stop the tool, use the command stop`);
    return { kind: 'deploy', command };
  }
  if (ref.startsWith('refs/tags/')) {
    if (!isRefName(ref)) return refuse('not a name that git accepts');
    if (isAtomic && isDelete) return refuse('a delete cannot be part of an atomic push');
    return { kind: 'store', command };
  }
  return refuse(`${namespace(ref)} is not stored here; push ${deployBranch} or tags`);
}

/**
 * False for names that git would refuse when it writes the ref: in an atomic push that is after the rollout. Also
 * false for names that are not UTF-8, because decoding has changed them.
 *
 * @see https://git-scm.com/docs/git-check-ref-format
 */
function isRefName(ref: string): boolean {
  const parts = ref.split('/');
  const isBadPart = (part: string) => part === '' || part.startsWith('.') || part.endsWith('.lock');
  return !parts.some(isBadPart) && !/\.\.|@\{|[\p{Cc} ~^:?*[\\\ufffd]|\.$/u.test(ref);
}

function otherBranch(branch: string, deployBranch: string): string {
  if (branch.startsWith('preview/')) return 'previews are not offered by this server';
  return `only ${deployBranch} deploys; to deploy this: git push toolforge ${shellWord(branch)}:${deployBranch}`;
}

/** The branch name for a shell command, or HEAD if the name needs quotes. */
function shellWord(branch: string): string {
  return /^[A-Za-z0-9][-A-Za-z0-9._/+@]*$/.test(branch) ? branch : 'HEAD';
}

/** `refs/notes` of `refs/notes/commits`, in printable characters only. */
function namespace(ref: string): string {
  return ref
    .split('/')
    .slice(0, 2)
    .join('/')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 60);
}

/**
 * Why the whole push is refused, or null. Each ref costs git a process or two. A push to a full repository uses up
 * the disk that all tools share.
 */
export function refusalOfAll(
  { commands }: CommandList,
  { maxRefs, fullness }: { readonly maxRefs: number; readonly fullness: string | null },
): string | null {
  if (commands.length <= maxRefs) return fullness;
  return `${commands.length} refs are more than one push may have, ${maxRefs} (push_refs); push fewer at a time`;
}
