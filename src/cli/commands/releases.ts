import { short } from '../../core/names.ts';
import type { ReleaseRecord } from '../../store/store.ts';
import type { ToolCommand } from '../command.ts';
import { countOf } from '../parse-words.ts';
import { ago, columns, iso, json } from '../printing.ts';

export const releasesCommand: ToolCommand = {
  name: 'releases',
  usage: 'TOOL [-n COUNT] [--json]',
  summary: 'the releases of a tool, the newest first',
  details: [
    '-n is 20 unless told, at most 1000.',
    '--json: version, state (created, live, replaced or failed), commit, description, by, credential, deployment, build, configVars (names), createdAt.',
  ],
  action: 'read',
  options: { count: { type: 'string', short: 'n' }, json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run({ services, tool, flags, out }) {
    const limit = countOf(flags, 'count', { min: 1, max: 1000, byDefault: 20, typed: '-n' });
    const releases = services.store.releases(tool, limit);
    if (flags['json'] === true) await out(json(releases.map(asFields)));
    else if (releases.length === 0) await out(`${tool} has no release yet: git push toolforge main\n`);
    else await out(columns([['VERSION', 'STATE', 'COMMIT', 'WHAT', 'BY', 'WHEN'], ...releases.map(asRow)]));
    return 0;
  },
};

function asFields(release: ReleaseRecord): object {
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
    configVars: Object.keys(release.configVars).sort(),
    createdAt: iso(createdAt),
  };
}

function asRow({ version, state, commit, description, by, createdAt }: ReleaseRecord): string[] {
  return [`v${version}`, state, short(commit), description, by, ago(createdAt, Date.now())];
}
