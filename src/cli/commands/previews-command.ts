import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { previewName, previewTool } from '../../core/preview-names.ts';
import { oneLine } from '../../core/progress.ts';
import type { Preview } from '../../store/store.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { ago, columns, iso, json } from '../command-line/printing.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

const list: ToolCommand = {
  name: 'previews',
  usage: 'TOOL [--json]',
  summary: 'list the previews of a tool, with their addresses',
  details: [
    'A push to preview/NAME makes or renews a preview. In other commands, its name is NAME--TOOL, as in `logs NAME--TOOL`.',
    '--json prints an array of objects with: name, tool (the name for other commands), version (null if nothing is live), address, deployedAt, endsAt.',
  ],
  examples: ['previews wikibot', 'previews wikibot --json'],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { tool, flags, out } = context;
    const rows = previewsOf(context).map((preview) => asRow(preview, context));
    if (flags['json'] === true) {
      await out(
        json(rows.map((row) => ({ ...row, deployedAt: iso(row.deployedAt), endsAt: iso(row.endsAt) }))),
      );
    } else if (rows.length === 0) {
      await out(`${tool} has no previews. To make one: git push toolforge HEAD:preview/NAME\n`);
    } else {
      const lines = rows.map(({ name, version, deployedAt, endsAt, address }) => [
        name,
        version === null ? '-' : `v${version}`,
        ago(deployedAt, Date.now()),
        (iso(endsAt) ?? '').slice(0, 10),
        address ?? '-',
      ]);
      await out(columns([['PREVIEW', 'LIVE', 'DEPLOYED', 'ENDS', 'ADDRESS'], ...lines]));
    }
    return 0;
  },
};

const end: ToolCommand = {
  name: 'previews end',
  usage: 'TOOL NAME',
  summary: 'end a preview: delete its processes, releases, config vars and data',
  details: ['`git push toolforge :preview/NAME` does the same for a preview that has gone live.'],
  examples: ['previews end wikibot fix-login'],
  action: 'deploy',
  options: {},
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, tool, args, principal, out } = context;
    const [name = ''] = args;
    const preview = previewTool(tool, name.replace(/^preview\//, ''));
    if (!previewsOf(context).some((one) => one.name === preview))
      throw new DeployError(
        'NO_PREVIEW',
        `the tool ${tool} has no preview “${oneLine(name).slice(0, 80)}”`,
        `To list its previews: \`previews ${tool}\``,
      );
    await services.previews.end(preview, principal.uid);
    await out(`The preview ${previewName(preview)} of ${tool} has ended, and its data is deleted.\n`);
    return 0;
  },
};

export const previewCommands: readonly ToolCommand[] = [list, end];

/** The previews of the tool. The list does not have previews that the server is ending. */
export function previewsOf({ services, tool }: ToolContext): Preview[] {
  return services.store.previews(tool).filter(({ isEnding }) => !isEnding);
}

function asRow(
  { name: tool, liveVersion, usedAt }: Preview,
  { services }: ToolContext,
): {
  readonly name: string;
  readonly tool: ToolName;
  readonly version: number | null;
  readonly address: string | null;
  readonly deployedAt: number;
  readonly endsAt: number;
} {
  return {
    ...{ name: previewName(tool), tool, version: liveVersion },
    address: services.runtime.address(tool),
    deployedAt: usedAt,
    endsAt: usedAt + services.previews.days * DAY_MS,
  };
}
