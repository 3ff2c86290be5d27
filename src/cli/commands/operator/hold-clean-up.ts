import type { LoginCommand } from '../../command.ts';

/**
 * How long one backup may keep the server from deleting files. Without this limit, the server would never delete files
 * again if a backup hangs.
 */
const LIMIT_MS = 24 * 60 * 60 * 1000;

/**
 * The command with which `backup` makes the running server pause all work that deletes or merges files. Prints `held`
 * once no such work runs. When the input of the command ends, the server continues this work, and the exit status is 0.
 * If a day has passed or the client disconnects before that, the server also continues this work, but the exit status
 * is 1.
 */
export const holdCleanUpCommand: LoginCommand = {
  name: 'hold-clean-up',
  usage: '',
  summary: 'delete and merge no files until the input ends; `backup` uses this',
  examples: ['hold-clean-up'],
  isAlias: true,
  isForOperator: true,
  action: null,
  options: {},
  words: { min: 0, max: 0 },
  async run({ services, input, out, signal }) {
    const release = await services.cleanUp.hold();
    const early = Promise.withResolvers<number>();
    const end = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    end.addEventListener('abort', () => early.resolve(1), { once: true });
    try {
      await out('held\n');
      if (end.aborted) return 1;
      return await Promise.race([inputEnd(input), early.promise]);
    } finally {
      release();
    }
  },
};

async function inputEnd(input: AsyncIterable<Uint8Array>): Promise<number> {
  for await (const _ of input);
  return 0;
}
