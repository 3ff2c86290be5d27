import { DeployError } from '../../../core/errors.ts';
import { outputTime } from '../../../core/fair-share/time-shares.ts';
import { RESERVED_VARIABLE } from '../../../core/names.ts';
import { formatEnvFile, parseEnvFile } from '../../../core/variables/env-file.ts';
import { outsideVarsOf } from '../../../deploy/release/live-release.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { warning } from '../../command-line/printing.ts';
import { readText } from '../../command-line/read-text.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { configure, configVarsOf, NO_RESTART, NO_RESTART_DETAIL } from './configure.ts';

/**
 * The most bytes of a .env file: twice as many as all config vars of a tool may have, because quotes, escapes and
 * comments may double them.
 */
const MAX_FILE_BYTES = 1024 * 1024;

export const configImport: ToolCommand = {
  name: 'config import',
  usage: 'TOOL FILE|- [--no-restart]',
  summary: 'set the config vars of a .env file, in a new release',
  examples: ['config import wikibot -', 'config import wikibot - --no-restart'],
  details: [
    'With - the file is read from standard input. Over SSH and HTTP, this is the only way.',
    'The file has lines NAME=value, comments and empty lines. A name may follow “export”. A value of several lines needs quotes.',
    'Config vars that are not in the file stay as they are. PORT and other names that the platform sets are left out.',
    NO_RESTART_DETAIL,
  ],
  action: 'deploy',
  options: NO_RESTART,
  words: { min: 1, max: 1 },
  takesFile: true,
  async run(context) {
    const { services, tool, args, err, out } = context;
    if (args[0] !== '-') {
      throw new UsageError(`The server cannot read a file of your computer. ${sendIt(context)}`);
    }
    const file = await fileOf(context);
    const all = await outputTime.run(tool, () => Object.entries(parseEnvFile(file)));
    const outside = await outsideVarsOf(services, tool);
    const {
      reserved = [],
      elsewhere = [],
      usable = [],
    } = Object.groupBy(all, ([name]) =>
      RESERVED_VARIABLE.test(name) ? 'reserved' : Object.hasOwn(outside.vars, name) ? 'elsewhere' : 'usable',
    );
    const leaveOut = async (left: typeof all, why: string) => {
      const names = left.map(([name]) => name).join(', ');
      if (names !== '') await err(warning(`Left out, because ${why}: ${names}`));
    };
    await leaveOut(reserved, 'the platform sets it');
    await leaveOut(elsewhere, `it comes from ${outside.source}`);
    const current = await configVarsOf(context);
    const changes = usable.filter(
      ([name, value]) => !Object.hasOwn(current, name) || current[name] !== value,
    );
    if (changes.length === 0) {
      await out(`Nothing has changed: the config vars of ${tool} have the values of the file already.\n`);
      return 0;
    }
    await services.room.assertRoom();
    return await configure(context, Object.fromEntries(changes));
  },
};

export const configExport: ToolCommand = {
  name: 'config export',
  usage: 'TOOL',
  summary: 'print all config vars with their values as a .env file',
  examples: ['config export wikibot'],
  details: [
    '`config import` reads the file back exactly. Config vars from outside are not in it: the server does not store them.',
  ],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 0 },
  async run(context) {
    const vars = await configVarsOf(context);
    await context.out(await outputTime.run(context.tool, () => formatEnvFile(vars)));
    return 0;
  },
};

/** Says how to send the file as standard input. Over HTTP, standard input is the body after the line of the command. */
function sendIt({ principal, tool, typed }: ToolContext): string {
  return principal.door === 'http'
    ? `Send it after the command, in the same request: (echo config import ${tool} -; cat FILE) | ${typed('').replace("--data ''", '--data-binary @-')}`
    : `Send it on standard input: ${typed(`config import ${tool} -`)} < FILE`;
}

async function fileOf({ input }: ToolContext): Promise<string> {
  const text = await readText(input, MAX_FILE_BYTES);
  if (text !== null) return text;
  throw new DeployError(
    'BAD_ENV_FILE',
    `the file is longer than ${MAX_FILE_BYTES / 1024} KiB or is not UTF-8 text`,
    'Keep large data in a file of the tool, and encode binary data as base64.',
  );
}
