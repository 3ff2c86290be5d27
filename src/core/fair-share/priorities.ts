/**
 * How many programs that the server runs for one person, such as git, have the usual priority. All further programs for
 * the person have a low priority.
 */
const MAX_USUAL = 2;

/**
 * Decides which programs that the server starts for people, such as git, get a low priority: those of a person who has
 * two other programs with the usual priority running. So somebody who keeps many programs busy gets only a little more
 * of the processors than somebody with two.
 */
export class Priorities {
  /** For each person: how many programs that the server runs for them have the usual priority. */
  readonly #usual = new Map<string, number>();

  /**
   * Call this before a program starts, and call `leave` when the program has ended. Further calls of `leave` do
   * nothing.
   */
  enter(uid: string): { readonly isLow: boolean; readonly leave: () => void } {
    const usual = this.#usual.get(uid) ?? 0;
    if (usual >= MAX_USUAL) return { isLow: true, leave: () => {} };
    this.#usual.set(uid, usual + 1);
    let isOver = false;
    const leave = () => {
      if (isOver) return;
      isOver = true;
      const left = (this.#usual.get(uid) ?? 1) - 1;
      if (left > 0) this.#usual.set(uid, left);
      else this.#usual.delete(uid);
    };
    return { isLow: false, leave };
  }
}

/** The priorities of all gits that serve clients, over HTTP and SSH together. */
export const gitPriorities = new Priorities();
