import { clean } from '../../core/progress.ts';

/** The options of one push, which people give with `git push -o`. */
export interface PushOptions {
  /** True if the client wants its answer when the server accepts the push, instead of when the commit is live. */
  readonly isDetached: boolean;
  /** True if the server only says what the push would do. Nothing is stored and nothing is deployed. */
  readonly isDryRun: boolean;
  readonly useCache: boolean;
  readonly isColoured: boolean;
  readonly message: string | null;
}

const known = {
  detach: 'answer once accepted',
  'dry-run': 'only say what the push would do',
  'no-cache': 'build without the cache',
  'no-color': 'plain output',
  'message=TEXT': 'note for the release',
} as const;

const MAX_OPTIONS = 16;
const MAX_MESSAGE = 500;

/** Parses the options of a push. Returns a one-line reason if the push must be refused. */
export function readPushOptions(options: readonly string[]): PushOptions | string {
  if (options.length > MAX_OPTIONS) return `more than ${MAX_OPTIONS} push options`;
  const message =
    options.findLast((option) => option.startsWith('message='))?.slice('message='.length) ?? null;
  const unknown = options.find((option) => !Object.hasOwn(known, option) && !option.startsWith('message='));
  if (unknown !== undefined) {
    const name = clean(unknown).replace(/\n/g, ' ').slice(0, 50);
    return `unknown push option "${name}"; known are: ${Object.keys(known).join(', ')}`;
  }
  if (message !== null && message.length > MAX_MESSAGE)
    return `the message is longer than ${MAX_MESSAGE} characters`;
  return {
    isDetached: options.includes('detach'),
    isDryRun: options.includes('dry-run'),
    useCache: !options.includes('no-cache'),
    isColoured: !options.includes('no-color'),
    message: message === null ? null : clean(message).replace(/\n/g, ' '),
  };
}
