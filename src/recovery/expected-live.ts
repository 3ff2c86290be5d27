import type { ToolName } from '../core/names.ts';
import type { Artifact } from '../core/types.ts';
import type { DataFacts, RepositoryFacts } from './data-facts.ts';

/** What is live once the start has read back what the store lacks. */
export interface ExpectedLive {
  readonly name: ToolName;
  readonly version: number;
  readonly artifact: Artifact;
}

/** The versions that a repository has and the store lacks, in order; none if the store cannot be read. */
export function behind({ store }: DataFacts, { tool, released }: RepositoryFacts): number[] {
  if (store.state !== 'whole') return [];
  const known = store.tools.find(({ name }) => name === tool);
  return released.filter((version) => known?.wereLive.has(version) !== true).sort((a, b) => a - b);
}

/** Of every tool that has something live. */
export function expectedLive(facts: DataFacts): ExpectedLive[] {
  const { store, repositories, copies } = facts;
  const live = new Map<ToolName, ExpectedLive>();
  for (const tool of store.state === 'whole' ? store.tools : []) {
    if (tool.live !== null) live.set(tool.name, { name: tool.name, ...tool.live });
  }
  for (const repository of repositories) {
    const { tool } = repository;
    const newest = behind(facts, repository).at(-1);
    const copy = newest === undefined ? null : copies.read(tool, newest);
    if (newest === undefined || copy === null || newest < (live.get(tool)?.version ?? 0)) continue;
    live.set(tool, { name: tool, version: newest, artifact: copy.release.artifact });
  }
  return [...live.values()];
}
