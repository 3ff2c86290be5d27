import { short } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import type { Deployment } from '../../core/types.ts';
import { listCommand } from '../command-line/list-command.ts';
import { ago, iso } from '../command-line/printing.ts';

export const deploymentsCommand = listCommand<Deployment>({
  name: 'deployments',
  summary: 'list the deployments of a tool and how they ended, the newest first',
  examples: ['deployments wikibot', 'deployments wikibot -n 5'],
  details: [
    'NOTE is the reason if a deployment did not go live; otherwise it is the note of the push, the first line of the commit message, or what a command changed.',
    '-n: how many deployments, 20 by default, at most 1000. To see the log of a deployment: logs TOOL --build ID',
    '--json prints an array of objects with: id, kind, state, commit, version, reason, message, by, door, credential, createdAt, startedAt, endedAt.',
  ],
  one: 'deployment',
  *items(store, tool, limit) {
    yield store.deployments(tool, limit);
  },
  heads: ['DEPLOYMENT', 'KIND', 'STATE', 'COMMIT', 'RELEASE', 'BY', 'WHEN', 'NOTE'],
  row: ({ id, kind, state, commit, version, reason, message, by, createdAt }) => [
    id,
    kind,
    state,
    short(commit),
    version === null ? '-' : `v${version}`,
    by,
    ago(createdAt, Date.now()),
    oneLine(reason ?? message ?? '-'),
  ],
  fields: (deployments) => deployments.map(fieldsOf),
});

function fieldsOf(deployment: Deployment): object {
  const { id, kind, state, commit, version, reason, message, by, door, credential } = deployment;
  const { createdAt, startedAt, endedAt } = deployment;
  const times = { createdAt: iso(createdAt), startedAt: iso(startedAt), endedAt: iso(endedAt) };
  return { id, kind, state, commit, version, reason, message, by, door, credential, ...times };
}
