import { outputTime } from '../../core/fair-share/time-shares.ts';
import { short, type ToolName } from '../../core/names.ts';
import type { ListedRelease } from '../../store/store.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { countOf } from '../command-line/parse-words.ts';
import { ago, columns, iso, json } from '../command-line/printing.ts';

export const releasesCommand: ToolCommand = {
  name: 'releases',
  usage: 'TOOL [-n COUNT] [--json]',
  summary: 'the releases of a tool, the newest first',
  details: [
    '-n: 20 by default, at most 1000.',
    '--json: version, state (created, live, replaced or failed), commit, description, by, credential, deployment, build, configVars (names), createdAt.',
  ],
  action: 'read',
  options: { count: { type: 'string', short: 'n' }, json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, tool, flags, out } = context;
    const limit = countOf(flags, 'count', { min: 1, max: 1000, byDefault: 20, typed: '-n' });
    const releases = await outputTime.run(tool, () => services.store.releases(tool, limit));
    const text = flags['json'] === true ? json(await allFields(context, releases)) : null;
    await out(text ?? (await outputTime.run(tool, () => tableOf(tool, releases))));
    return 0;
  },
};

function tableOf(tool: ToolName, releases: readonly ListedRelease[]): string {
  if (releases.length === 0) return `${tool} has no release yet: git push toolforge main\n`;
  return columns([['VERSION', 'STATE', 'COMMIT', 'WHAT', 'BY', 'WHEN'], ...releases.map(asRow)]);
}

/** Reads the releases one after the other, because the config vars of a thousand may be hundreds of megabytes. */
async function allFields(
  { services, tool, signal }: ToolContext,
  releases: readonly ListedRelease[],
): Promise<object[]> {
  const fields: object[] = [];
  for (const release of releases) {
    signal.throwIfAborted();
    const names = await outputTime.run(tool, () =>
      Object.keys(services.store.release(tool, release.version)?.configVars ?? {}).sort(),
    );
    fields.push(fieldsOf(release, names));
  }
  return fields;
}

function fieldsOf(release: ListedRelease, configVars: readonly string[]): object {
  const { version, state, commit, description, by, credential, deploymentId, artifact, createdAt } = release;
  return {
    version,
    state,
    commit,
    description,
    by,
    credential,
    deployment: deploymentId,
    build: artifact.id,
    configVars,
    createdAt: iso(createdAt),
  };
}

function asRow({ version, state, commit, description, by, createdAt }: ListedRelease): string[] {
  return [`v${version}`, state, short(commit), description, by, ago(createdAt, Date.now())];
}
