import { PREVIEW_BRANCHES, previewNameOf } from '../../core/preview-names.ts';
import { type CommandList, hasCapability, isZero, type RefCommand } from './command-list.ts';

/** The decision about one ref of a push: deploy its commit, end the preview that it names, store it, or refuse it. */
export type Fate =
  | { readonly kind: 'deploy'; readonly command: RefCommand }
  | { readonly kind: 'end-preview'; readonly command: RefCommand }
  | { readonly kind: 'store'; readonly command: RefCommand }
  | { readonly kind: 'refuse'; readonly command: RefCommand; readonly reason: string };

export interface PolicyInput {
  readonly list: CommandList;
  /** The name of the deploy branch, without `refs/heads/`. */
  readonly deployBranch: string;
  /** True if the repository has the deploy branch. */
  readonly hasDeployBranch: boolean;
  /** The maximum number of tags, if the tool has reached it. Null if the tool may get more tags. */
  readonly mostTags: number | null;
  /** The maximum number of tags of atomic pushes that wait for deployments, if it is reached. Otherwise null. */
  readonly mostParked: number | null;
  /** Why a push to `preview/NAME` must not make a preview, in one line. Null if it may make one. */
  readonly previewRefusal: (name: string) => string | null;
  /** True if the push only asks what it would do. */
  readonly isDryRun?: boolean;
}

/** The longest name of a tag, with `refs/tags/`. Names must be short, because each push reads the names of all refs. */
const MAX_NAME_BYTES = 255;
/** The most parts of a tag's name after `refs/tags/`. Each part but the last becomes a folder on the disk. */
const MAX_NAME_PARTS = 8;

/**
 * Decides for each ref of a push, before git reads the pack, whether it deploys, ends a preview, is stored or is
 * refused. The content of the push is checked later, when git has received the pack. With `--atomic`, one refusal
 * refuses all refs.
 */
export function judgeRefs(input: PolicyInput): Fate[] {
  const { list, mostParked } = input;
  const isAtomic = hasCapability(list, 'atomic');
  const fates = list.commands.map((command) => judge(command, input, isAtomic));
  const isWork = ({ kind }: Fate) => kind === 'deploy' || kind === 'end-preview';
  const first = fates.find(({ kind }) => kind === 'deploy') ?? fates.find(isWork);
  // The tags of an atomic push that deploys wait for its deployment. So refuse such tags if too many wait already.
  const isFull = isAtomic && first?.kind === 'deploy' && mostParked !== null;
  const single = fates.map((fate): Fate => {
    if (isFull && fate.kind === 'store')
      return {
        kind: 'refuse',
        command: fate.command,
        reason: `${mostParked} tags of atomic pushes wait for deployments; push again when these have ended, or without --atomic`,
      };
    if (!isWork(fate) || fate === first) return fate;
    const reason =
      fate.kind === 'deploy'
        ? 'one push can deploy only one branch; push this branch by itself'
        : 'the end of a preview needs a push of its own';
    return { kind: 'refuse', command: fate.command, reason };
  });
  if (!isAtomic || !single.some((fate) => fate.kind === 'refuse')) return single;
  return single.map((fate) =>
    fate.kind === 'refuse' ? fate : { kind: 'refuse', command: fate.command, reason: 'atomic push failure' },
  );
}

function judge(command: RefCommand, input: PolicyInput, isAtomic: boolean): Fate {
  const refuse = (reason: string): Fate => ({ kind: 'refuse', command, reason });
  const { ref } = command;
  const { deployBranch, mostTags } = input;
  const isDelete = isZero(command.newId);
  if (ref.startsWith('refs/heads/')) {
    const branch = ref.slice('refs/heads/'.length);
    const deploys = branch === deployBranch || (branch === 'master' && !input.hasDeployBranch);
    if (!deploys && ref.startsWith(PREVIEW_BRANCHES)) return judgePreview(command, input, isAtomic);
    if (!deploys) return refuse(otherBranch(branch, input));
    if (isDelete)
      return refuse(`${branch} is live and cannot be deleted; to stop the tool, use the command stop`);
    return { kind: 'deploy', command };
  }
  if (ref.startsWith('refs/tags/')) {
    if (!isRefName(ref)) return refuse('not a name that git accepts');
    if (Buffer.byteLength(ref) > MAX_NAME_BYTES)
      return refuse(`longer than ${MAX_NAME_BYTES} bytes, the limit for the name of a tag`);
    if (!isDelete && ref.split('/').length - 2 > MAX_NAME_PARTS)
      return refuse(
        `the name of a tag can have ${MAX_NAME_PARTS} parts between slashes, and this name has more`,
      );
    if (mostTags !== null && isZero(command.oldId))
      return refuse(`a tool can have ${mostTags} tags; delete some: git push toolforge --delete TAG`);
    // Refuse a delete in a dry run. If the server accepted the delete, the client would print that the tag was deleted.
    if (input.isDryRun === true && isDelete) return refuse('a delete cannot be part of a dry run');
    if (isAtomic && isDelete) return refuse('a delete cannot be part of an atomic push');
    return { kind: 'store', command };
  }
  return refuse(`${namespace(ref)} is not stored here; push ${deployBranch} or tags`);
}

function judgePreview(command: RefCommand, input: PolicyInput, isAtomic: boolean): Fate {
  const refuse = (reason: string): Fate => ({ kind: 'refuse', command, reason });
  // Check for a deletion first, because a push may end a preview even if this server makes no previews any more.
  if (isZero(command.newId)) {
    if (input.isDryRun === true) return refuse('a delete cannot be part of a dry run');
    if (isAtomic) return refuse('a delete cannot be part of an atomic push');
    return { kind: 'end-preview', command };
  }
  const reason = input.previewRefusal(command.ref.slice(PREVIEW_BRANCHES.length));
  if (reason !== null) return refuse(reason);
  // Refuse a push from a shallow clone: git stores the ends of a shallow history for the whole repository, so they
  // would also cut off the history of the deploy branch.
  if (input.list.shallow.length > 0)
    return refuse('a preview cannot be pushed from a shallow clone; first: git fetch --unshallow');
  return { kind: 'deploy', command };
}

/**
 * Returns false for a ref name that git would refuse. In an atomic push, git would refuse the name only after the
 * rollout. Also returns false for names that are not UTF-8, because decoding has changed them.
 *
 * @see https://git-scm.com/docs/git-check-ref-format
 */
export function isRefName(ref: string): boolean {
  const parts = ref.split('/');
  const isBadPart = (part: string) => part === '' || part.startsWith('.') || part.endsWith('.lock');
  return !parts.some(isBadPart) && !/\.\.|@\{|[\p{Cc} ~^:?*[\\\ufffd]|\.$/u.test(ref);
}

function otherBranch(branch: string, { deployBranch, previewRefusal }: PolicyInput): string {
  const source = shellWord(branch);
  const deploy = `only ${deployBranch} deploys; to deploy this: git push toolforge ${source}:${deployBranch}`;
  const name = previewNameOf(branch);
  return name === null || previewRefusal(name) !== null
    ? deploy
    : `${deploy}, or to run it beside what is live: git push toolforge ${source}:preview/${name}`;
}

/** The branch name for a shell command, or HEAD if the name needs quotes. */
function shellWord(branch: string): string {
  return /^[A-Za-z0-9][-A-Za-z0-9._/+@]*$/.test(branch) ? branch : 'HEAD';
}

/**
 * Returns the first two parts of a ref, for example `refs/notes` for `refs/notes/commits`, safe to print: at most 60
 * characters, with `?` for each character that is not printable ASCII.
 */
function namespace(ref: string): string {
  return ref
    .split('/')
    .slice(0, 2)
    .join('/')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 60);
}

/**
 * Returns the reason to refuse the whole push. Null if the push may go on. The number of refs is limited, because each
 * ref costs git a process or two. The number of commits at which shallow histories end is limited, because the
 * repository keeps their list for ever, and each git reads the whole list. A full repository accepts no push, because
 * all tools share its disk.
 */
export function refusalOfAll(
  { commands, shallow, isCut }: CommandList,
  limits: { readonly maxRefs: number; readonly maxShallow: number; readonly whyClosed: string | null },
): string | null {
  const { maxRefs, maxShallow, whyClosed } = limits;
  const more = isCut === true ? 'more than ' : '';
  if (commands.length > maxRefs)
    return `this push has ${more}${commands.length} refs, and one push may have ${maxRefs} (push_refs); push fewer refs at a time`;
  if (shallow.length > maxShallow)
    return `this shallow clone ends at ${more}${shallow.length} commits, and a push from it may end at ${maxShallow}; first fetch the whole history: git fetch --unshallow`;
  return whyClosed;
}
