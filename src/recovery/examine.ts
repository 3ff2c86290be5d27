import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { removeTree } from '../core/disk/remove-tree.ts';
import { dropOldSetAside } from '../core/disk/set-aside.ts';
import { DeployError } from '../core/errors.ts';
import type { Log } from '../core/log/log.ts';
import type { ToolName } from '../core/names.ts';
import { counted } from '../core/text/counted.ts';
import { mayHave } from '../git/hollow-repository.ts';
import { Backups } from '../store/backups/backups.ts';
import { storeNewer } from '../store/migrate.ts';
import type { StoredTool } from '../store/store-facts.ts';
import { artifactFolder, type DataFacts, type RepositoryFacts } from './data-facts.ts';
import { behind, expectedLive, storedTools, toolsIn } from './expected-live.ts';
import { halfRestored } from './half-restore.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** A fact about a data folder that an operator should know. */
export interface Finding {
  /**
   * `refuses`: the server does not start. `act`: the server starts, and somebody must act. `repaired`: the server
   * repairs the problem by itself, at its start or at the next push.
   */
  readonly kind: 'refuses' | 'act' | 'repaired';
  /** The problem, in the form of an error message: without a full stop at its end. */
  readonly what: string;
  /** What the operator should do about the problem, as full sentences. */
  readonly advice: string;
}

/** Compares store, repositories, artifacts, directory and keys. Findings that prevent a start come first. */
export function examine(facts: DataFacts): Finding[] {
  // Return only this finding: others would advise the operator to replace parts that the restore has not moved yet.
  if (facts.isHalfRestored) return [refuses(halfRestored.what, halfRestored.advice)];
  const findings = [
    ...keyFindings(facts),
    ...storeFindings(facts),
    ...nameFindings(facts),
    ...wholeFolders(facts),
    ...directoryFindings(facts),
    ...facts.repositories.flatMap(repositoryFindings),
    ...toolsIn(facts).flatMap((tool) => releaseFindings(facts, tool)),
    ...tokenFindings(facts),
    ...toolFindings(facts),
  ];
  const order = ['refuses', 'act', 'repaired'];
  return findings.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
}

/**
 * Refuses a start of the server if a finding has the kind `refuses`. @throws DeployError `DATA_DISAGREES` if one has.
 */
export function assertStartable(findings: readonly Finding[]): void {
  const [first, second] = findings.filter(({ kind }) => kind === 'refuses');
  if (first === undefined) return;
  const more = second === undefined ? '' : ' There is more: npx toolforge-push doctor';
  throw new DeployError('DATA_DISAGREES', first.what, `${first.advice}${more}`);
}

/** Logs the findings when the server starts. Deletes old folders in `set-aside`, unless the clock may be wrong. */
export async function tellFindings(findings: readonly Finding[], data: string, log: Log): Promise<void> {
  for (const { kind, what, advice } of findings) {
    if (kind === 'act') log.error({ what, advice }, 'an operator must repair the data folder');
    else log.warn({ what, advice }, 'the data folder is being repaired');
  }
  // A running server makes a backup every hour. If the newest backup looks more than a day old, the clock may have
  // jumped, and all folders in `set-aside` may look old. Then delete none of them at this start.
  if ((await new Backups(data).ageOfNewest(Date.now())) > DAY_MS) return;
  const dropped = await dropOldSetAside(data, removeTree);
  if (dropped.length > 0) log.warn({ folders: dropped }, 'old folders in set-aside deleted');
}

function refuses(what: string, advice: string): Finding {
  return { kind: 'refuses', what, advice };
}

function keyFindings({ store, keyId, config }: DataFacts): Finding[] {
  if (store.state !== 'whole' || store.keyId === null || store.keyId === keyId) return [];
  // If the secrets key cannot be read, the server reports this itself when it starts.
  if (keyId === 'unreadable') return [];
  const file = join(config.keys, 'secrets.key');
  const given = keyId === null ? `${file} is missing or is not a key` : `${file} contains the key ${keyId}`;
  return [
    refuses(
      `the config vars in store.sqlite are encrypted with the key ${store.keyId}, but ${given}`,
      `Restore the secrets.key of this data folder from the backup of the keys folder. Without a backup, only the config vars are lost: npx toolforge-push start-over config-vars`,
    ),
  ];
}

/** Lists the signs that a server has run on this data folder before. */
function history({ repositories, copies, config, storeBackup }: DataFacts): string[] {
  const released = repositories.filter(({ released: versions }) => versions.length > 0).length;
  return [
    ...(released > 0 ? [`repositories with releases of ${counted(released, 'tool')}`] : []),
    ...(existsSync(join(config.data, 'artifacts')) ? ['artifacts'] : []),
    ...(copies.tools().length > 0 ? ['copies of releases'] : []),
    ...(storeBackup === null ? [] : ['backups']),
  ];
}

function storeFindings(facts: DataFacts): Finding[] {
  const { store } = facts;
  if (store.state === 'newer') {
    const { message, hint } = storeNewer(store.schema);
    return [refuses(message, hint)];
  }
  const found = history(facts);
  if (store.state === 'damaged')
    return [refuses(`the store, store.sqlite, is damaged: ${store.why}`, bringBackStore(facts))];
  if (found.length === 0) return [];
  if (store.state === 'whole' && (store.tools.length > 0 || store.isBegunAnew)) return [];
  const loss = store.state === 'missing' ? 'is missing' : 'is empty';
  return [refuses(`the store, store.sqlite, ${loss}, but there are ${listed(found)}`, bringBackStore(facts))];
}

/** Reports the tools that have been renamed since this store was copied for a backup. */
export function nameFindings({ names }: DataFacts): Finding[] {
  if (names === null) return [];
  if (names.conflict !== null) {
    return [
      refuses(
        `the store is older than a rename of a tool, and its present name is not certain: ${names.conflict}`,
        'Nothing has changed. Restore a backup of the store from after the rename: npx toolforge-push restore store FILE. Without one: npx toolforge-push start-over store reads the releases and their config vars from copies, which have the present names.',
      ),
    ];
  }
  return names.names.map(({ from, to }) => ({
    kind: 'repaired',
    what: `the store is older than the rename of ${from} to ${to}`,
    advice: `The start gives the tool the name ${to} in the store too. If there is another tool ${from} now, it gets nothing of the renamed tool.`,
  }));
}

function bringBackStore({ storeBackup, copies }: DataFacts): string {
  const count = copies.tools().reduce((sum, tool) => sum + copies.versions(tool).length, 0);
  if (storeBackup !== null) {
    return `Stop the server and restore the newest good backup, ${storeBackup}: npx toolforge-push restore store. This sets the present store aside, and the next start reads newer releases from their copies.`;
  }
  return `There is no good backup in the data folder. If you have one elsewhere, restore it (npx toolforge-push help restore). Otherwise start over: npx toolforge-push start-over store reads ${counted(count, 'release')} with config vars from their copies. It loses deploy tokens, the effects of scale and stop, the lists of builds and deployments, and config vars of tools without a release.`;
}

/**
 * Refuses the start if the repositories or the artifacts of all live tools are missing. Perhaps a disk is not mounted.
 */
function wholeFolders(facts: DataFacts): Finding[] {
  const { repositories, config } = facts;
  const live = expectedLive(facts);
  if (live.length === 0) return [];
  const lostRepositories = live.every(({ name }) => !repositories.some(({ tool }) => tool === name));
  const slugs = live.filter(({ artifact }) => artifact.kind === 'slug');
  const isLocal = config.runtime === 'local' && slugs.length > 0;
  const lostArtifacts =
    isLocal && slugs.every(({ name, artifact }) => !existsSync(artifactFolder(config, name, artifact.id)));
  const ofLiveTools = `of ${counted(live.length, 'tool')} that the store says ${live.length === 1 ? 'is' : 'are'} live`;
  return [
    ...(lostRepositories
      ? [
          refuses(
            `the repositories ${ofLiveTools} are missing (repositories/)`,
            'Mount the disk that holds the repositories, or restore the folder from a backup. If they are lost: npx toolforge-push start-over repositories makes empty repositories. Live releases stay live, and maintainers push their history again.',
          ),
        ]
      : []),
    ...(lostArtifacts
      ? [
          refuses(
            `the artifacts ${ofLiveTools} are missing (artifacts/)`,
            'Mount the disk that holds the artifacts, or restore the folder from a backup. If they are lost: npx toolforge-push start-over artifacts, start the server, and build each tool again: npx toolforge-push redeploy TOOL',
          ),
        ]
      : []),
  ];
}

function directoryFindings(facts: DataFacts): Finding[] {
  const { directory, directoryBackup, repositories } = facts;
  const tools = storedTools(facts);
  if (directory.state === 'elsewhere') return [];
  if (tools.length === 0 && repositories.length === 0 && directoryBackup === null) return [];
  if (directory.state === 'whole') {
    const isKnown = ({ name, previewOf }: StoredTool) => directory.tools.has(previewOf ?? name);
    const orphans = tools.filter((tool) => tool.live !== null && !isKnown(tool));
    return orphans.map(({ name }) => ({
      kind: 'act',
      what: `the tool ${name} is live, but the user directory, directory.yaml, does not contain it: nobody can push to ${name}`,
      advice: `If you removed the tool on purpose, stop it: npx toolforge-push stop ${name}. Otherwise give it back to its maintainers, and to nobody else, because maintainers read its config vars: npx toolforge-push tool add ${name} --maintainer USER${directoryBackup === null ? '' : `, or restore ${directoryBackup}: npx toolforge-push restore directory`}`,
    }));
  }
  const hadUsers = directoryBackup === null ? 'tools have been pushed here' : 'there is a backup of it';
  const problem = {
    missing: `is missing, but ${hadUsers}`,
    empty: `has no users, but ${hadUsers}`,
    damaged: `cannot be read: ${directory.state === 'damaged' ? directory.why : ''}`,
  }[directory.state];
  const advice =
    directoryBackup === null
      ? 'There is no backup of directory.yaml in the data folder. Restore the file from elsewhere, or repair it. Otherwise start with one user and no tools: npx toolforge-push start-over directory'
      : `Repair directory.yaml, or restore the newest backup, ${directoryBackup}: npx toolforge-push restore directory. This sets the present file aside.`;
  return [refuses(`the user directory, directory.yaml, ${problem}`, advice)];
}

function repositoryFindings({ tool, torn, isHollow }: RepositoryFacts): Finding[] {
  if (isHollow) {
    const what = `the repository of ${tool} (repositories/${tool}.git) has lost objects that every push needs`;
    const advice =
      'The start sets the repository aside. Restore it from a backup while the server is stopped, or let the maintainers push their history again.';
    return [{ kind: 'act', what, advice }];
  }
  return torn.map((name): Finding => {
    const what = `the file ${name} in the repository of ${tool} is torn`;
    if (name === 'shallow') {
      const advice =
        'The start sets the file aside and continues with its undamaged lines. If pushes fail afterwards, maintainers must push from a clone with the whole history.';
      return { kind: 'act', what, advice };
    }
    if (name === 'config')
      return {
        kind: 'repaired',
        what,
        advice: 'The next push or start sets the file aside and makes a new one.',
      };
    if (name !== 'packed-refs' && !name.startsWith('refs/tags/')) {
      const when = name.startsWith('refs/releases/') ? 'start' : 'push or start';
      const advice = `The next ${when} sets the file aside and makes it again.`;
      return { kind: 'repaired', what, advice };
    }
    const advice =
      'The next push or start sets the file aside and continues with the refs that can be read. Push lost tags again.';
    return { kind: 'act', what, advice };
  });
}

/** Reports releases that went live and that the store lacks. */
function releaseFindings(facts: DataFacts, tool: ToolName): Finding[] {
  const { copies, repositories } = facts;
  const lacking = behind(facts, tool);
  const newest = lacking.at(-1);
  if (newest === undefined) return [];
  const stored = storedTools(facts).find(({ name }) => name === tool);
  const live = stored?.live?.version ?? 0;
  const readable = lacking.filter((version) => copies.read(tool, version) !== null);
  const released = repositories.find((repository) => repository.tool === tool)?.released ?? [];
  const lacks =
    stored?.missingLive === newest
      ? `store.sqlite says that v${newest} of ${tool} is live, but does not contain this release`
      : released.includes(newest)
        ? `the repository of ${tool} has ${versions(lacking)}, which store.sqlite lacks: the store is older than the repository`
        : `releases/${tool} has ${versions(lacking)}, which store.sqlite lacks: the store is older, and the repository is lost or has lost refs`;
  if (newest > live && !readable.includes(newest)) {
    const copy = `releases/${tool}/v${newest}.json`;
    const next = Math.max(0, ...(stored?.wereLive ?? []), ...readable);
    return [
      refuses(
        `${lacks}, and the copy of v${newest}, ${copy}, is missing or torn`,
        `Restore ${copy} or a newer store.sqlite from a backup. Without a backup: npx toolforge-push start-over releases makes the newest readable release live (${next === 0 ? 'none' : `v${next}`}), and keeps the commits of newer releases under refs/set-aside in the repository.`,
      ),
    ];
  }
  const advice = 'The start reads these releases from their copies in releases/.';
  return readable.length === 0 ? [] : [{ kind: 'repaired', what: lacks, advice }];
}

/** Warns of an older store, in which tokens that were revoked later are valid again. */
function tokenFindings(facts: DataFacts): Finding[] {
  const tools = storedTools(facts).filter(({ name, tokens, lastVersion }) => {
    return tokens > 0 && behind(facts, name).some((version) => version > lastVersion);
  });
  if (tools.length === 0) return [];
  const names = tools.map(({ name }) => name);
  return [
    {
      kind: 'act',
      what: `the store is older than the releases of ${listed(names)}: deploy tokens of these tools that were revoked since then are valid again`,
      advice: `When the server runs, list the tokens and revoke tokens that must not exist: npx toolforge-push token list ${names[0]}, npx toolforge-push token revoke ${names[0]} ID`,
    },
  ];
}

function toolFindings(facts: DataFacts): Finding[] {
  const { config, repositories } = facts;
  return expectedLive(facts).flatMap(({ name, version, commit, artifact }): Finding[] => {
    const repository = repositories.find(({ tool }) => tool === name);
    const folder = `repositories/${name}.git`;
    // A repository that has lost objects (`isHollow`) is already reported.
    const isLost =
      repository === undefined || (!repository.isHollow && !mayHave(join(config.data, folder), commit));
    const hasArtifact =
      config.runtime !== 'local' ||
      artifact.kind !== 'slug' ||
      existsSync(join(artifactFolder(config, name, artifact.id), 'workspace')) ||
      isClosed(artifactFolder(config, name, artifact.id));
    return [
      ...(isLost
        ? [
            {
              kind: 'act' as const,
              what: `the tool ${name} is live at v${version}, but its repository (${folder}) ${repository === undefined ? 'is missing' : 'does not have its commit'}`,
              advice:
                'Restore the repository from a backup, or let the maintainers push their history again.',
            },
          ]
        : []),
      ...(hasArtifact
        ? []
        : [
            {
              kind: 'act' as const,
              what: `the artifact of ${name} v${version} (artifacts/${name}/${artifact.id}) is missing or torn, so ${name} is down`,
              advice: `Restore the artifact from a backup, or start the server and build the tool again: npx toolforge-push redeploy ${name}`,
            },
          ]),
    ];
  });
}

/** True if a tool's system user owns the folder, and this process may not look into it. */
function isClosed(folder: string): boolean {
  const stat = statSync(folder, { throwIfNoEntry: false });
  return stat !== undefined && (stat.mode & 0o001) === 0 && ![0, stat.uid].includes(process.getuid?.() ?? 0);
}

function versions(list: readonly number[]): string {
  const [first, last] = [list[0], list.at(-1)];
  return first === last ? `v${first}` : `v${first} to v${last}`;
}

function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}
