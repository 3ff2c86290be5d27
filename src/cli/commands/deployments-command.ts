import { outputTime } from '../../core/fair-share/time-shares.ts';
import { short } from '../../core/names.ts';
import type { Deployment } from '../../core/types.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { countOf } from '../command-line/parse-words.ts';
import { ago, columns, iso, json, oneLine } from '../command-line/printing.ts';

export const deploymentsCommand: ToolCommand = {
  name: 'deployments',
  usage: 'TOOL [-n COUNT] [--json]',
  summary: 'what was asked for and how it ended, the newest first',
  details: [
    'NOTE says why it did not go live; else it is the note of the push, or the first line of its commit.',
    '-n: 20 by default, at most 1000. The log of one: logs TOOL --build ID',
    '--json: id, kind, state, commit, version, reason, message, by, door, credential, createdAt, startedAt, endedAt.',
  ],
  action: 'read',
  options: { count: { type: 'string', short: 'n' }, json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    await context.out(await outputTime.run(context.tool, () => listOf(context)));
    return 0;
  },
};

function listOf({ services, tool, flags }: ToolContext): string {
  const limit = countOf(flags, 'count', { min: 1, max: 1000, byDefault: 20, typed: '-n' });
  const deployments = services.store.deployments(tool, limit);
  if (flags['json'] === true) return json(deployments.map(asFields));
  if (deployments.length === 0) return `${tool} has no deployment yet: git push toolforge main\n`;
  return columns([
    ['DEPLOYMENT', 'KIND', 'STATE', 'COMMIT', 'RELEASE', 'BY', 'WHEN', 'NOTE'],
    ...deployments.map(asRow),
  ]);
}

function asFields(deployment: Deployment): object {
  const { id, kind, state, commit, version, reason, message, by, door, credential } = deployment;
  const { createdAt, startedAt, endedAt } = deployment;
  const times = { createdAt: iso(createdAt), startedAt: iso(startedAt), endedAt: iso(endedAt) };
  return { id, kind, state, commit, version, reason, message, by, door, credential, ...times };
}

function asRow({ id, kind, state, commit, version, reason, message, by, createdAt }: Deployment): string[] {
  const release = version === null ? '-' : `v${version}`;
  return [
    id,
    kind,
    state,
    short(commit),
    release,
    by,
    ago(createdAt, Date.now()),
    oneLine(reason ?? message ?? '-'),
  ];
}
