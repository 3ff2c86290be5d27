import type { Trial } from '../../builder/local/try-buildpack.ts';
import type { Config } from '../../config.ts';
import { createLog } from '../../core/log/log.ts';
import type { Progress } from '../../core/progress.ts';
import type { CommandShape } from '../command.ts';
import { columns, quoted } from '../command-line/printing.ts';
import { type OperatorLine, runOperatorCommand } from './operator-command.ts';

const tryCommand: CommandShape = {
  name: 'buildpack try',
  usage: 'FOLDER SOURCE',
  summary: 'run a buildpack on a source and show what it makes',
  examples: ['buildpack try tcl-buildpack wikibot'],
  details: [
    'FOLDER has buildpack.toml, bin/detect and bin/build. SOURCE is a folder with the files of a tool; the command works on a copy.',
    'The buildpacks of the server take part as in a push, so the buildpack may require what they provide.',
    'Builds in the sandbox of this machine, on the newest stack if there is one. Needs no running server, deploys nothing, and keeps no files.',
  ],
  options: {},
  words: { min: 2, max: 2 },
};

/** The commands on buildpacks. They need neither a server nor the right to write the data folder. */
export const buildpackCommands: readonly CommandShape[] = [tryCommand];

interface BuildpackLine extends OperatorLine {
  readonly config: () => Config;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Runs one of `buildpackCommands`. @returns the exit status. @throws DeployError if the command fails. */
export async function runBuildpackCommand(line: BuildpackLine): Promise<number> {
  return await runOperatorCommand(buildpackCommands, line, async (_command, { positionals }) => {
    const [folder = '', source = ''] = positionals;
    await line.out(describe(await tryOn(folder, source, line)));
    return 0;
  });
}

async function tryOn(
  buildpack: string,
  source: string,
  { config, progress, signal }: BuildpackLine,
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
      const { sandbox, whyTrusted } = await chooseSandbox({ ...settings, data }, log, [settings.data]);
      if (whyTrusted !== null)
        progress.warn(`The buildpack runs without isolation, with your rights. ${whyTrusted}`);
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
