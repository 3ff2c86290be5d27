import { authorize } from '../../auth/authorize.ts';
import type { LogLine } from '../../run/runtime.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { findDeployment } from '../find-deployment.ts';
import { countOf } from '../parse-words.ts';
import { json, oneLineOfLog } from '../printing.ts';
import { UsageError } from '../usage-error.ts';

const lineCount = { min: 1, max: 10_000, byDefault: 100 };

export const logsCommand: ToolCommand = {
  name: 'logs',
  usage: 'TOOL [-f] [-n LINES] [-p PROCESS] [--build ID] [--json]',
  summary: 'what a tool has printed, or the log of a deployment',
  details: [
    '-f goes on with what comes, until you leave. -n is 100 unless told, at most 10000.',
    '-p takes a process type (web) or one process (web.1).',
    '--build takes the id of a build or deployment and shows its log, to its end.',
    '--json: at, process, text.',
  ],
  action: 'read',
  options: {
    follow: { type: 'boolean', short: 'f' },
    lines: { type: 'string', short: 'n' },
    process: { type: 'string', short: 'p' },
    build: { type: 'string' },
    json: { type: 'boolean' },
  },
  words: { min: 0, max: 0 },
  async run(context) {
    const { flags } = context;
    if (typeof flags['build'] === 'string') return await buildLog(context, flags['build']);
    // A process may print its config vars, which are for those who may deploy.
    const { services, principal, tool, signal } = context;
    if (principal.scope === 'read') await authorize(services.directory, principal, tool, 'deploy', signal);
    if (flags['json'] !== true) return await printLines(context);
    if (flags['follow'] === true) throw new UsageError('--json gives one whole array: leave -f away.');
    const lines: LogLine[] = [];
    for await (const { at, process, text } of query(context)) lines.push({ at, process, text });
    await context.out(json(lines));
    return 0;
  },
};

async function printLines(context: ToolContext): Promise<number> {
  let isEmpty = true;
  for await (const { at, process, text } of query(context)) {
    isEmpty = false;
    await context.out(`${at} ${process}: ${oneLineOfLog(text)}\n`);
  }
  const [last] = context.services.store.deployments(context.tool, 1);
  if (isEmpty && last !== undefined && !context.signal.aborted) {
    await context.out(
      `${context.tool} has printed nothing yet. The log of its last deployment: ${context.before}logs ${context.tool} --build ${last.id}\n`,
    );
  }
  return 0;
}

function query({ services, tool, flags, signal }: ToolContext): AsyncIterable<LogLine> {
  const process = flags['process'];
  return services.runtime.logs(tool, {
    process: typeof process === 'string' ? process : null,
    lines: countOf(flags, 'lines', lineCount),
    follow: flags['follow'] === true,
    signal,
  });
}

async function buildLog(context: ToolContext, id: string): Promise<number> {
  const { services, flags, signal, out } = context;
  if (flags['json'] === true || flags['process'] !== undefined || flags['lines'] !== undefined) {
    throw new UsageError('--build shows one whole log: leave -n, -p and --json away.');
  }
  const deployment = findDeployment(context, id);
  for await (const text of services.deployments.follow(deployment.id, { isColoured: false, signal })) {
    await out(text);
  }
  return 0;
}
