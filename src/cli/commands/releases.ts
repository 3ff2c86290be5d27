import { outputTime } from '../../core/fair-share/time-shares.ts';
import { short } from '../../core/names.ts';
import { crashWords } from '../../core/text/crash-words.ts';
import type { Crashes } from '../../core/types.ts';
import type { ListedRelease } from '../../store/store.ts';
import type { ToolContext } from '../command.ts';
import { listCommand } from '../command-line/list-command.ts';
import { ago, iso } from '../command-line/printing.ts';

const PIECE = 20;

export const releasesCommand = listCommand<ListedRelease>({
  name: 'releases',
  summary: 'list the releases of a tool, the newest first',
  examples: ['releases wikibot', 'releases wikibot -n 5'],
  details: [
    '-n: how many releases, 20 by default, at most 1000.',
    '--json prints an array of objects with: version, state (created, live, replaced or failed), commit, description, promotedTo, by, credential, deployment, build, configVars (names), crashes (process, count, firstAt, lastAt, reason), createdAt.',
  ],
  one: 'release',
  // The record of a release can have 100 kB about its artifact, so a thousand releases are read in pieces.
  *items(store, tool, limit) {
    let before = Number.MAX_SAFE_INTEGER;
    for (let left = limit; left > 0; left -= PIECE) {
      const piece = store.releases(tool, Math.min(left, PIECE), before);
      yield piece;
      if (piece.length < PIECE) return;
      before = piece.at(-1)?.version ?? 0;
    }
  },
  heads: ['VERSION', 'STATE', 'COMMIT', 'WHAT', 'BY', 'WHEN'],
  row: ({ version, state, commit, description, promotedTo, by, createdAt }) => [
    `v${version}`,
    state,
    short(commit),
    promotedTo === null ? description : `${description} (promoted: ${promotedTo})`,
    by,
    ago(createdAt, Date.now()),
  ],
  noted: ({ version }) => version,
  notes: (versions, { services, tool }) =>
    services.store
      .crashes(tool)
      .filter(({ version }) => versions.includes(version))
      .map((crashes) => `${crashWords(crashes)}\n`)
      .join(''),
  fields: allFields,
});

/** Reads the config vars of one release at a time, because those of a thousand may have hundreds of megabytes. */
async function allFields(
  releases: readonly ListedRelease[],
  { services, tool, signal }: ToolContext,
): Promise<object[]> {
  const fields: object[] = [];
  const crashes = Map.groupBy(services.store.crashes(tool), ({ version }) => version);
  for (const release of releases) {
    signal.throwIfAborted();
    const names = await outputTime.run(tool, () =>
      Object.keys(services.store.release(tool, release.version)?.configVars ?? {}).sort(),
    );
    fields.push(fieldsOf(release, names, crashes.get(release.version) ?? []));
  }
  return fields;
}

function fieldsOf(
  release: ListedRelease,
  configVars: readonly string[],
  crashes: readonly Crashes[],
): object {
  const {
    version,
    state,
    commit,
    description,
    promotedTo,
    by,
    credential,
    deploymentId,
    artifact,
    createdAt,
  } = release;
  return {
    version,
    state,
    commit,
    description,
    promotedTo,
    by,
    credential,
    deployment: deploymentId,
    build: artifact.id,
    configVars,
    crashes: crashes.map(({ process, count, firstAt, lastAt, words }) => ({
      ...{ process, count },
      ...{ firstAt: iso(firstAt), lastAt: iso(lastAt), reason: words },
    })),
    createdAt: iso(createdAt),
  };
}
