import { short } from '../../core/names.ts';
import { took } from '../../core/text/duration.ts';
import type { Build } from '../../core/types.ts';
import { listCommand } from '../command-line/list-command.ts';
import { ago, iso } from '../command-line/printing.ts';

export const buildsCommand = listCommand<Build>({
  name: 'builds',
  summary: 'list the builds of a tool, the newest first',
  examples: ['builds wikibot', 'builds wikibot -n 5 --json'],
  details: [
    '-n: how many builds, 20 by default, at most 1000. To see the log of a build: logs TOOL --build ID',
    '--json prints an array of objects with: id, state (as in Toolforge’s builds-api), commit, deployment, buildpacks (null without an artifact), bytes (null without an artifact), startedAt, endedAt (null while the build runs).',
  ],
  one: 'build',
  *items(store, tool, limit) {
    yield store.builds(tool, limit);
  },
  heads: ['BUILD', 'STATE', 'COMMIT', 'BUILDPACKS', 'STARTED', 'TOOK'],
  row: ({ id, state, commit, artifact, startedAt, endedAt }) => [
    id,
    state,
    short(commit),
    artifact?.buildpacks.join(', ') ?? '-',
    ago(startedAt, Date.now()),
    endedAt === null ? '-' : took(endedAt - startedAt),
  ],
  fields: (builds) =>
    builds.map(({ id, state, commit, deploymentId, artifact, startedAt, endedAt }) => ({
      id,
      state,
      commit,
      deployment: deploymentId,
      buildpacks: artifact?.buildpacks ?? null,
      bytes: artifact?.bytes ?? null,
      startedAt: iso(startedAt),
      endedAt: iso(endedAt),
    })),
});
