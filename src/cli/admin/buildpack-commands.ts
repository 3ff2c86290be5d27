import type { Trial } from '../../builder/local/try-buildpack.ts';
import type { Config } from '../../config.ts';
import { createLog } from '../../core/log/log.ts';
import type { Progress } from '../../core/progress.ts';
import type { CommandShape } from '../command.ts';
import { findCommand } from '../command-line/find-command.ts';
import { checkCount, parseWords } from '../command-line/parse-words.ts';
import { columns, quoted, warning } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { describeCommand, typedHere } from '../commands/help.ts';

const tryCommand: CommandShape = {
  name: 'buildpack try',
  usage: 'FOLDER SOURCE',
  summary: 'run a buildpack on a source and show what it makes',
  details: [
    'FOLDER has buildpack.toml, bin/detect and bin/build. SOURCE is a folder with the files of a tool; the command works on a copy.',
    'The buildpacks of the server take part as in a push, so the buildpack may require what they provide.',
    'Builds in the sandbox, on the newest stack if there is one. Needs no running server, deploys nothing, and keeps no files.',
  ],
  options: {},
  words: { min: 2, max: 2 },
};

/** The commands on buildpacks. They need neither a server nor the right to write the data folder. */
export const buildpackCommands: readonly CommandShape[] = [tryCommand];

/** @returns the exit status. @throws DeployError */
export async function runBuildpackCommand(line: {
  readonly argv: readonly string[];
  readonly config: () => Config;
  readonly progress: Progress;
  readonly out: (text: string) => Promise<void>;
  readonly err: (text: string) => Promise<void>;
  readonly signal: AbortSignal;
}): Promise<number> {
  const { argv, out, err } = line;
  const known = findCommand(buildpackCommands, argv);
  if (known === null) throw new Error('This is no command on buildpacks.');
  const { command, words } = known;
  try {
    const { flags, positionals } = parseWords(command, words);
    if (flags['help'] === true) {
      await out(describeCommand(command, typedHere));
      return 0;
    }
    checkCount(command, positionals);
    const [folder = '', source = ''] = positionals;
    await out(describe(await tryOn(folder, source, line)));
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    await err(warning(error.message, `Usage: ${typedHere(`${command.name} ${command.usage}`)}`));
    return 2;
  }
}

async function tryOn(
  buildpack: string,
  source: string,
  {
    config,
    progress,
    signal,
  }: Pick<Parameters<typeof runBuildpackCommand>[0], 'config' | 'progress' | 'signal'>,
): Promise<Trial> {
  const [{ tryBuildpack }, { chooseSandbox }] = await Promise.all([
    import('../../builder/local/try-buildpack.ts'),
    import('../../sandbox/choose-sandbox.ts'),
  ]);
  const settings = config();
  const log = createLog('error');
  return await tryBuildpack({
    ...{ buildpack, source, config: settings, log, progress, signal },
    openSandbox: async (data) => {
      const { sandbox, whyTrusted } = await chooseSandbox({ ...settings, data }, log);
      if (whyTrusted !== null)
        progress.warn(`The buildpack runs without isolation, with your rights, because ${whyTrusted}.`);
      return sandbox;
    },
  });
}

function describe({ group, plan, layers, processes, environment }: Trial): string {
  const named = plan.map(({ name, requires }) => {
    const metadata = requires.map((require) => require.metadata).filter((one) => Object.keys(one).length > 0);
    return [name, ...metadata.map((one) => quoted(one))];
  });
  const made = layers.map(({ buildpack, name, isLaunch, isBuild, isCache, metadata }) => {
    const types = [isLaunch && 'launch', isBuild && 'build', isCache && 'cache'].filter(
      (type) => type !== false,
    );
    return [
      `${buildpack}:${name}`,
      types.join(' '),
      Object.keys(metadata).length === 0 ? '' : quoted(metadata),
    ];
  });
  const started = processes.map(({ type, command, isDefault }) => [
    type,
    isDefault ? 'default' : '',
    command.map((word) => (/^[-\w./:=@%+,]+$/.test(word) ? word : quoted(word))).join(' '),
  ]);
  const variables = Object.entries(environment).map(([name, value]) => [`${name}=${value}`]);
  return [
    section(
      'Buildpacks',
      group.map((id) => [id]),
    ),
    section('Build plan', named),
    section('Layers', made),
    section('Processes', started),
    section('Launch environment of the web process', variables),
  ].join('\n');
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return `${title}: none\n`;
  return `${title}:\n${columns(rows).replace(/^/gm, '  ').trimEnd()}\n`;
}
