/** The namespace of a live release, if somebody other than this server deleted it, so that the release does not run. */
export interface LostNamespace {
  readonly namespace: string;
  /**
   * `leaving`: the namespace is being deleted. `gone`: it does not exist. `empty`: it exists again, but the live
   * release does not run in it yet.
   */
  readonly state: 'leaving' | 'gone' | 'empty';
}

/** Says why the live release does not run: `its namespace tool-wikibot was deleted`. */
export function lostWords({ namespace, state }: LostNamespace): string {
  switch (state) {
    case 'leaving':
      return `its namespace ${namespace} is being deleted`;
    case 'gone':
      return `its namespace ${namespace} was deleted`;
    case 'empty':
      return `its namespace ${namespace} was deleted and made again, and this server has not started the release there yet`;
  }
  return state satisfies never;
}

/** The hint for a lost namespace. @param version - The version of the live release, which starts again. */
export function lostHint({ state }: LostNamespace, version: number): string {
  const repair =
    state === 'empty'
      ? 'give this server its rights in the namespace'
      : 'make the namespace again, with the rights of this server in it';
  return `Ask the operator to ${repair}. Then v${version} starts by itself within a minute.`;
}
