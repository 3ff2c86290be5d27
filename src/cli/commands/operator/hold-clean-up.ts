import type { LoginCommand } from '../../command.ts';

/**
 * The command with which `backup` asks the running server to delete and merge no files. Prints `held` when this is so.
 * The hold ends with the input of the command.
 */
export const holdCleanUpCommand: LoginCommand = {
  name: 'hold-clean-up',
  usage: '',
  summary: 'delete and merge no files until the input ends; backup uses this',
  isAlias: true,
  isForOperator: true,
  action: null,
  options: {},
  words: { min: 0, max: 0 },
  async run({ services, input, out, signal }) {
    const release = await services.cleanUp.hold();
    const gone = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => gone.resolve(), { once: true });
    try {
      await out('held\n');
      await Promise.race([inputEnd(input), gone.promise]);
    } finally {
      release();
    }
    return 0;
  },
};

async function inputEnd(input: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of input);
}
