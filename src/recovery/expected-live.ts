import type { CommitId, ToolName } from '../core/names.ts';
import type { Artifact } from '../core/types.ts';
import { wentLive } from '../deploy/reconciliation/read-back-releases.ts';
import type { StoredTool } from '../store/store-facts.ts';
import { forgottenBelow } from '../store/tables/old-rows.ts';
import type { DataFacts } from './data-facts.ts';

/**
 * A release that will be live after the next start of the server. During a start, the server reads the releases that
 * the store lacks from their copies in `releases/`.
 */
export interface ExpectedLive {
  readonly name: ToolName;
  readonly version: number;
  readonly commit: CommitId;
  readonly artifact: Artifact;
}

/** The tools in the store. Empty if the store cannot be read. */
export function storedTools({ store }: DataFacts): readonly StoredTool[] {
  return store.state === 'whole' ? store.tools : [];
}

/** Every tool that is in the store, has a repository or has copies of releases. */
export function toolsIn(facts: DataFacts): ToolName[] {
  const { repositories, copied } = facts;
  const stored = storedTools(facts).map(({ name }) => name);
  return [...new Set([...stored, ...repositories.map(({ tool }) => tool), ...copied.keys()])];
}

/**
 * The versions that went live and that the store lacks, in ascending order. The next start of the server finds the same
 * versions, and reads them back from their copies. Empty if the store cannot be read.
 */
export function behind(facts: DataFacts, tool: ToolName): number[] {
  if (facts.store.state !== 'whole') return [];
  const stored = storedTools(facts).find(({ name }) => name === tool);
  const refs = facts.repositories.find((repository) => repository.tool === tool);
  const newer = (facts.copied.get(tool) ?? []).filter((version) => version > (stored?.lastVersion ?? 0));
  const went = new Set(wentLive(refs ?? { released: [], torn: [] }, newer));
  if (stored?.missingLive) went.add(stored.missingLive);
  const wereLive = stored?.wereLive ?? new Set();
  const oldest = forgottenBelow(wereLive);
  return [...went].filter((version) => version >= oldest && !wereLive.has(version)).sort((a, b) => a - b);
}

/** Lists for each tool the release that will be live after the next start. Leaves out tools without such a release. */
export function expectedLive(facts: DataFacts): ExpectedLive[] {
  return toolsIn(facts).flatMap((name): ExpectedLive[] => {
    const live = storedTools(facts).find((tool) => tool.name === name)?.live ?? null;
    const newest = behind(facts, name).at(-1) ?? 0;
    const copy = newest > (live?.version ?? 0) ? facts.copies.read(name, newest) : null;
    if (copy !== null) {
      const { commit, artifact } = copy.release;
      return [{ name, version: newest, commit, artifact }];
    }
    return live === null ? [] : [{ name, ...live }];
  });
}
