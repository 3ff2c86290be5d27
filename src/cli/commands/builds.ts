import { outputTime } from '../../core/fair-share/time-shares.ts';
import { short } from '../../core/names.ts';
import type { Build } from '../../core/types.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { countOf } from '../command-line/parse-words.ts';
import { ago, columns, duration, iso, json } from '../command-line/printing.ts';

export const buildsCommand: ToolCommand = {
  name: 'builds',
  usage: 'TOOL [-n COUNT] [--json]',
  summary: 'the builds of a tool, the newest first',
  details: [
    '-n: 20 by default, at most 1000. The log of one: logs TOOL --build ID',
    '--json: id, state (as in Toolforge’s builds-api), commit, deployment, buildpacks and bytes (null without an artifact), startedAt, endedAt.',
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
  const builds = services.store.builds(tool, limit);
  if (flags['json'] === true) return json(builds.map(asFields));
  if (builds.length === 0) return `${tool} has no build yet: git push toolforge main\n`;
  return columns([['BUILD', 'STATE', 'COMMIT', 'BUILDPACKS', 'STARTED', 'TOOK'], ...builds.map(asRow)]);
}

function asFields({ id, state, commit, deploymentId, artifact, startedAt, endedAt }: Build): object {
  return {
    id,
    state,
    commit,
    deployment: deploymentId,
    buildpacks: artifact?.buildpacks ?? null,
    bytes: artifact?.bytes ?? null,
    startedAt: iso(startedAt),
    endedAt: iso(endedAt),
  };
}

function asRow({ id, state, commit, artifact, startedAt, endedAt }: Build): string[] {
  const took = endedAt === null ? '-' : duration(endedAt - startedAt);
  return [id, state, short(commit), artifact?.buildpacks.join(', ') ?? '-', ago(startedAt, Date.now()), took];
}
