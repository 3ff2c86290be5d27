import { DeployError } from '../../core/errors.ts';
import type { FollowerPlace } from '../../core/fair-share/followers.ts';
import { short } from '../../core/names.ts';
import { clean, oneLine } from '../../core/progress.ts';
import type { Release } from '../../core/types.ts';
import { liveRelease } from '../../deploy/release/live-release.ts';
import type { FlagValue, ToolCommand, ToolContext } from '../command.ts';
import { tooManyWords } from '../command-line/parse-words.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { ONLY_THE_RESULT } from '../follow-ticket.ts';

const MAX_MESSAGE_CHARACTERS = 10_000;

/** The flags that are options of `git push -o` too. */
const PUSH_OPTIONS = ['detach', 'dry-run', 'no-cache'] as const;

export const deployArchiveCommand: ToolCommand = {
  name: 'deploy',
  usage: 'TOOL [-m MESSAGE] [--dry-run] [--detach] [--no-cache] < TAR',
  summary: 'deploy a folder without git: tar cz . | ssh … deploy TOOL',
  examples: ['deploy wikibot', 'deploy wikibot -m typo --dry-run'],
  details: [
    'Reads a tar from standard input, plain or compressed by gzip or zstd. The server commits its files on top of the live commit, and deploys the commit like a push.',
    'The tar must have all files of the tool: a file that the tar lacks is deleted. .git is left out.',
    '`npx toolforge-push deploy TOOL [FOLDER]` makes the tar itself: of a git work tree, all files that .gitignore does not exclude; of another folder, all but node_modules, virtual environments and caches of Python.',
    '-m: what has changed. It becomes the message of the commit.',
    '--dry-run, --detach, --no-cache: as for `git push -o`.',
  ],
  action: 'deploy',
  // Take a word with a slash or a full stop for a folder, and any other single word for the tool.
  isAfterTool: (word) => /[./]/.test(word),
  audited: () => [],
  options: {
    message: { type: 'string', short: 'm' },
    'dry-run': { type: 'boolean' },
    detach: { type: 'boolean' },
    'no-cache': { type: 'boolean' },
  },
  words: { min: 0, max: 1 },
  takesFolder: true,
  async run(context) {
    const { services, tool, principal, args, flags, input, signal, out } = context;
    if (args.length > 0 && args[0] !== '-') {
      if (flags['message'] !== undefined) throw new UsageError(tooManyWords(deployArchiveCommand));
      throw new UsageError(`The server cannot read a folder of your computer. ${sendIt(context)}`);
    }
    const { liveVersion } = services.store.tool(tool);
    const live = liveVersion === null ? null : services.store.release(tool, liveVersion);
    using reader = new Reader(context);
    const outcome = await services.archives.deploy({
      ...{ tool, principal, signal, bytes: input, live: live?.commit ?? null },
      host: new URL(services.addresses.ssh).hostname,
      message: messageOf(flags['message']) ?? `Deploy files of ${principal.uid}`,
      options: ['no-color', ...PUSH_OPTIONS.filter((name) => flags[name] === true)],
      say: (bytes) => reader.take(bytes),
    });
    reader.throwIfStalled();
    signal.throwIfAborted();
    if (outcome.kind === 'refused')
      throw new DeployError('NOT_LIVE', outcome.reason, `To see what is live: \`releases ${tool}\``);
    if (outcome.kind === 'unchanged') await out(unchanged(context, stillLive(context, live)));
    return 0;
  },
};

export const downloadCommand: ToolCommand = {
  name: 'download',
  usage: 'TOOL [--version vN] > FILE.tar',
  summary: 'write the files of the live commit to standard output as a tar',
  examples: ['download wikibot', 'download wikibot --version v41'],
  details: ['--version: the files of this release instead of the live one.'],
  action: 'read',
  isBinary: true,
  options: { version: { type: 'string' } },
  words: { min: 0, max: 0 },
  async run({ services, tool, principal, flags, out, signal }) {
    const version = versionOf(flags['version']);
    const release =
      version === null ? liveRelease(services.store, tool) : services.store.release(tool, version);
    if (release === null)
      throw new DeployError(
        'NO_RELEASE',
        `the tool ${tool} has no release v${version}`,
        `To list the releases: \`releases ${tool}\``,
      );
    await services.archives.download({ tool, commit: release.commit, principal }, out, signal);
    return 0;
  },
};

/**
 * Returns the version that is live now. Null if nothing is live.
 *
 * @param before - The release that was live before the archive arrived.
 * @throws DeployError `MOVED_ON` if another commit has gone live while the archive arrived.
 */
function stillLive({ services: { store }, tool }: ToolContext, before: Release | null): number | null {
  const { liveVersion } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  if (live === null || live.commit === before?.commit) return liveVersion;
  throw new DeployError(
    'MOVED_ON',
    `v${live.version} (${short(live.commit)}) went live while you sent the files, and your files do not have its changes`,
    `Get the files that are live now, make your change there, and deploy again: \`download ${tool}\``,
  );
}

function unchanged({ services, tool, typed }: ToolContext, version: number | null): string {
  const { isStopped } = services.store.tool(tool);
  return isStopped
    ? `Nothing has changed: v${version} of ${tool} has exactly these files, but is stopped. To start it: ${typed(`restart ${tool}`)}\n`
    : `Nothing has changed: v${version} of ${tool} is live with exactly these files. To build them again: ${typed(`redeploy ${tool}`)}\n`;
}

/** Passes the output of a deployment on to the client. If the client stops reading, the deployment continues. */
class Reader implements Disposable {
  readonly #context: ToolContext;
  /**
   * The client's place among the followers of logs, of which there may be only a limited number. Undefined before the
   * first output; null if no place was free.
   */
  #place: FollowerPlace | null | undefined;
  #stalled: unknown = null;

  constructor(context: ToolContext) {
    this.#context = context;
  }

  async take(bytes: Uint8Array): Promise<void> {
    const { services, principal, tool, out, signal } = this.#context;
    if (this.#stalled !== null || signal.aborted) return;
    try {
      if (this.#place === undefined) {
        this.#place = services.followers.enterIfFree(principal, tool);
        if (this.#place === null) await out(ONLY_THE_RESULT);
      }
      await this.#place?.write(out(bytes));
    } catch (error) {
      this.#stalled = error;
    }
  }

  /** Throws the error that ended `take`: DeployError `FOLLOWER_STALLED` if the client has stopped reading. */
  throwIfStalled(): void {
    if (this.#stalled !== null) throw this.#stalled;
  }

  [Symbol.dispose](): void {
    this.#place?.[Symbol.dispose]();
  }
}

/** Reads the value of `-m`. Null if it is missing or empty. @throws UsageError if it is too long. */
function messageOf(flag: FlagValue): string | null {
  if (typeof flag !== 'string' || flag.trim() === '') return null;
  if (flag.length > MAX_MESSAGE_CHARACTERS)
    throw new UsageError(`A message can have at most ${MAX_MESSAGE_CHARACTERS} characters.`);
  return clean(flag).trim();
}

/**
 * Reads the value of `--version`, such as `v41`. Null if the flag was not given. @throws UsageError if the value is not
 * a version.
 */
function versionOf(flag: FlagValue): number | null {
  if (typeof flag !== 'string') return null;
  const number = /^v?(\d{1,9})$/.exec(flag)?.[1];
  if (number === undefined)
    throw new UsageError(`“${oneLine(flag).slice(0, 20)}” is not a release such as v41.`);
  return Number(number);
}

function sendIt({ principal, tool, typed }: ToolContext): string {
  return principal.door === 'http'
    ? `Send it after the command, in the same request: (echo deploy ${tool}; tar cz .) | ${typed('').replace("--data ''", '--data-binary @-')}`
    : `Send it as a tar on standard input: tar cz . | ${typed(`deploy ${tool}`)}`;
}
