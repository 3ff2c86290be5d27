import { DeployError } from '../../../core/errors.ts';
import { outputTime } from '../../../core/fair-share/time-shares.ts';
import type { Deployment } from '../../../core/types.ts';
import type { LogLine, LogMatch } from '../../../run/runtime.ts';
import type { Output, ToolCommand, ToolContext } from '../../command.ts';
import { lists } from '../../command-line/list-command.ts';
import { timeOf } from '../../command-line/parse-time.ts';
import { countOf } from '../../command-line/parse-words.ts';
import { jsonItems, jsonOf, oneLineOfLog, warning } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { findDeployment } from '../../find-deployment.ts';

/**
 * How two kinds of lines in a deployment's log begin: lines with details or output, and the line of the step that
 * follows the build.
 */
const [DETAIL, RELEASING] = ['       ', '-----> Releasing v'];
const lineCount = { min: 1, max: 10_000, byDefault: 100, typed: '-n' };

export const logsCommand: ToolCommand = {
  name: 'logs',
  usage:
    'TOOL [-f] [-n LINES] [-p PROCESS] [--since TIME] [--until TIME] [--grep TEXT] [--build ID] [--json]',
  summary: 'show the output of a tool, or the log of a deployment',
  examples: ['logs wikibot', 'logs wikibot -f -p web', 'logs wikibot --since 2h --grep error'],
  details: [
    '-f also shows new lines until you press Ctrl-C. -n: how many lines, 100 by default, at most 10000.',
    '-p takes a process type (web) or one process (web.1).',
    'The log continues across restarts and releases. It also has the output of releases that failed to start.',
    '--since and --until: a time ago (30m, 2h, 1d) or a time in UTC (2026-11-29, 2026-11-29T18:30). Both include the time itself.',
    '--grep shows only lines that contain TEXT. TEXT is not a pattern, and upper and lower case differ.',
    'Over SSH, your own shell removes one pair of quotes, so write a TEXT with spaces as: --grep "\'no luck\'"',
    '--build takes the id of a build or deployment, and shows the log of the deployment until the deployment ends.',
    'Each line has its time in UTC, the release, and the process that printed it. Lines of a process with the name push are from this server.',
    '--json prints an array of objects with: at, process, version (null for lines that belong to no release), text.',
  ],
  action: 'read',
  options: {
    follow: { type: 'boolean', short: 'f' },
    lines: { type: 'string', short: 'n' },
    process: { type: 'string', short: 'p' },
    since: { type: 'string' },
    until: { type: 'string' },
    grep: { type: 'string' },
    build: { type: 'string' },
    json: { type: 'boolean' },
  },
  words: { min: 0, max: 0 },
  async run(context) {
    const { flags } = context;
    if (typeof flags['build'] !== 'string') assertMayReadOutput(context);
    using place = context.services.followers.enter(context.principal, context.tool);
    const out = (text: Output) => place.write(context.out(text));
    if (typeof flags['build'] === 'string') return await buildLog({ ...context, out }, flags['build']);
    if (flags['json'] !== true) return await printLines({ ...context, out });
    if (flags['follow'] === true)
      throw new UsageError('--json prints one complete array, so it cannot be used with -f.');
    const { principal, tool, signal } = context;
    await lists.run(
      principal,
      async () => {
        // Format each batch by a separate call of `outputTime.run`, because to escape thousands of long lines takes a
        // second. Other work can run between two calls.
        const pieces: string[] = [];
        for await (const batch of query(context))
          if (batch.length > 0) pieces.push(await outputTime.run(tool, () => jsonItems(batch)));
        await out(jsonOf(pieces));
      },
      signal,
    );
    return 0;
  },
};

/**
 * Refuses a token that may only read. A process may print config vars, which only people who may deploy can see.
 *
 * @throws DeployError `TOKEN_SCOPE` for such a token.
 */
export function assertMayReadOutput({ principal, tool }: ToolContext): void {
  if (principal.scope !== 'read') return;
  throw new DeployError(
    'TOKEN_SCOPE',
    `the ${principal.credential} may read ${tool}, but not the output of its processes, which may contain secrets`,
    `With this token you can read the logs of builds: \`deployments ${tool}\`, \`logs ${tool} --build ID\`. For the output of processes, use a token that may deploy, or your own key or password.`,
  );
}

async function printLines(context: ToolContext): Promise<number> {
  let isEmpty = true;
  for await (const lines of query(context)) {
    isEmpty = false;
    await context.out(await outputTime.run(context.tool, () => lines.map(shownLine).join('')));
  }
  if (isEmpty && !context.signal.aborted) await context.out(nothingPrinted(context));
  return 0;
}

function shownLine({ at, process, version, text }: LogLine): string {
  return `${at} ${version === null ? '' : `v${version} `}${process}: ${oneLineOfLog(text)}\n`;
}

function nothingPrinted({ services, tool, flags, typed }: ToolContext): string {
  const { store } = services;
  const [last] = store.deployments(tool, 1);
  if (last === undefined) return '';
  const { liveVersion } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  const types = live?.artifact.processes.map(({ type }) => type) ?? [];
  const asked = typeof flags['process'] === 'string' ? flags['process'] : null;
  if (matchOf(flags) !== null)
    return `No line in the log of ${asked === null ? tool : `${oneLineOfLog(asked).slice(0, 80)} of ${tool}`} matches.\n`;
  if (asked !== null && live !== null && !types.includes(asked.replace(/\.\d+$/, ''))) {
    return `v${live.version} of ${tool} has no process “${oneLineOfLog(asked).slice(0, 80)}”, and no output of such a process is kept. It has: ${types.join(', ')}.\n`;
  }
  const processOrTool = asked === null ? tool : `${asked} of ${tool}`;
  return `${processOrTool} has printed nothing yet. The log of the last deployment: ${typed(`logs ${tool} --build ${last.id}`)}\n`;
}

function query({ services, tool, flags, signal }: ToolContext): AsyncIterable<readonly LogLine[]> {
  const process = flags['process'];
  const match = matchOf(flags);
  return services.runtime.logs(tool, {
    process: typeof process === 'string' ? process : null,
    lines: countOf(flags, 'lines', lineCount),
    follow: flags['follow'] === true,
    ...(match === null ? {} : { match }),
    signal,
  });
}

/**
 * Which lines match `--since`, `--until` and `--grep`. Null if none of these flags is given. @throws UsageError if a
 * time is wrong, or if the flags contradict each other.
 */
function matchOf(flags: ToolContext['flags']): LogMatch | null {
  const now = Date.now();
  const [since, until] = [timeOf(flags, 'since', now), timeOf(flags, 'until', now)];
  const text = typeof flags['grep'] === 'string' ? flags['grep'] : null;
  if (until !== null && flags['follow'] === true)
    throw new UsageError('-f shows new lines, so it cannot be used with --until.');
  if (since !== null && until !== null && since > until)
    throw new UsageError('The time of --since is after the time of --until.');
  return since === null && until === null && text === null ? null : { since, until, text };
}

async function buildLog(context: ToolContext, id: string): Promise<number> {
  const { services, flags, signal, out } = context;
  const others = ['json', 'process', 'lines', 'since', 'until', 'grep'];
  if (others.some((name) => flags[name] !== undefined)) {
    throw new UsageError(
      '--build shows one complete log, so it cannot be used with -n, -p, --since, --until, --grep or --json.',
    );
  }
  const deployment = findDeployment(context, id);
  let isEmpty = true;
  const log = services.deployments.follow(deployment.id, { isColoured: false, signal });
  for await (const text of context.principal.scope === 'read'
    ? withoutOutput(log, context, deployment)
    : log) {
    isEmpty = false;
    await out(text);
  }
  if (isEmpty && deployment.endedAt !== null && !signal.aborted)
    await out(`The log of deployment ${deployment.id} is no longer kept.\n`);
  return 0;
}

/**
 * Leaves out the output of processes from the log of a deployment, for somebody who may only read. After the build, a
 * log has the whole output of the test and release commands, and the last output of processes that failed. In a log,
 * all output follows seven spaces, so this function leaves out all such lines from the beginning of the release on.
 *
 * @param log - The log, in chunks of whole lines.
 */
async function* withoutOutput(
  log: AsyncIterable<string>,
  { principal, tool }: Pick<ToolContext, 'principal' | 'tool'>,
  { kind }: Pick<Deployment, 'kind'>,
): AsyncGenerator<string> {
  let hasBegun = kind !== 'push' && kind !== 'redeploy';
  let isTold = false;
  const shownOf = (text: string): string => {
    const shown: string[] = [];
    for (const line of text.split(/(?<=\n)/)) {
      if (!hasBegun || !line.startsWith(DETAIL)) shown.push(line);
      else if (!isTold) {
        isTold = true;
        shown.push(
          warning(
            `The ${principal.credential} may not read the output of processes, which is left out here.`,
          ),
        );
      }
      if (line.startsWith(RELEASING)) hasBegun = true;
    }
    return shown.join('');
  };
  for await (const text of log) {
    // Run this in `outputTime`, which divides the server's time among tools: a chunk of empty lines takes milliseconds,
    // and many readers may read at the same time.
    const shown = await outputTime.run(tool, () => shownOf(text));
    if (shown !== '') yield shown;
  }
}
