/** A dependency that a buildpack asks for. */
export interface Require {
  readonly name: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** One alternative of a build plan: what a buildpack provides and what it requires. */
export interface PlanSections {
  readonly provides: readonly string[];
  readonly requires: readonly Require[];
}

/** A buildpack whose detection passed. */
export interface Candidate {
  readonly id: string;
  readonly isOptional: boolean;
  /**
   * What the buildpack's build plan provides and requires: the sections at its top, then those of each `[[or]]` in the
   * order of the file. At least one.
   */
  readonly alternatives: readonly PlanSections[];
}

/** One dependency of a resolved plan: the buildpacks that may provide it, and every requirement for it. */
export interface PlanEntry {
  readonly name: string;
  readonly providers: readonly string[];
  readonly requires: readonly Require[];
}

export interface ResolvedPlan {
  /** The ids of the buildpacks that take part in the build, in the order in which they run. */
  readonly group: readonly string[];
  readonly entries: readonly PlanEntry[];
}

/**
 * One buildpack in the combination that is tried now, with the alternative of its build plan that this combination
 * uses.
 */
interface Option {
  readonly id: string;
  readonly isOptional: boolean;
  readonly sections: PlanSections;
}

/**
 * A build plan has alternatives. At most this many combinations of the alternatives of all buildpacks are tried,
 * because the server can do nothing else while it tries them.
 */
const MAX_TRIALS = 1000;
/**
 * The server tries no more combinations after it has read this many `provides` and `requires`. Each counts again in
 * every combination. The build plans of hostile buildpacks may have far more.
 */
const MAX_LOOKS = 100_000;

/**
 * How many combinations may still be tried (`MAX_TRIALS`), and how many `provides` and `requires` read (`MAX_LOOKS`).
 */
interface Left {
  trials: number;
  looks: number;
}

/**
 * Tries the alternatives of all buildpacks in combination, and returns the first combination that works. A combination
 * works if each buildpack requires only what an earlier buildpack or the buildpack itself provides, and if everything
 * that is provided is required. An optional buildpack is dropped only after its last alternative has failed, as in the
 * buildpacks lifecycle. Null if none of the combinations that are tried works.
 *
 * @see https://github.com/buildpacks/spec/blob/main/buildpack.md#phase-1-detection
 * @see https://github.com/buildpacks/lifecycle/blob/v0.21.0/phase/detector.go (runTrials, runTrial)
 */
export function resolvePlan(candidates: readonly Candidate[]): ResolvedPlan | null {
  return tryFrom(candidates, [], { trials: MAX_TRIALS, looks: MAX_LOOKS });
}

function tryFrom(rest: readonly Candidate[], chosen: readonly Option[], left: Left): ResolvedPlan | null {
  const [next, ...others] = rest;
  if (next === undefined) {
    left.trials -= 1;
    return tryOptions(chosen, left);
  }
  for (const [index, sections] of next.alternatives.entries()) {
    if (left.trials <= 0 || left.looks <= 0) return null;
    const isLast = index === next.alternatives.length - 1;
    const option = { id: next.id, isOptional: next.isOptional && isLast, sections };
    const plan = tryFrom(others, [...chosen, option], left);
    if (plan !== null) return plan;
  }
  return null;
}

function tryOptions(chosen: readonly Option[], left: Left): ResolvedPlan | null {
  let trial = chosen;
  for (;;) {
    for (const { sections } of trial) left.looks -= sections.provides.length + sections.requires.length;
    if (left.looks < 0) return null;
    const dependencies = collect(trial);
    const unmet = new Set(dependencies.flatMap(({ early, unused }) => [...early, ...unused]));
    if ([...unmet].some((option) => !option.isOptional)) return null;
    if (unmet.size === 0) return trial.length === 0 ? null : resolved(trial, dependencies);
    trial = trial.filter((option) => !unmet.has(option));
  }
}

interface Dependency {
  readonly name: string;
  readonly providers: Option[];
  readonly requires: Require[];
  /** The buildpacks that require this dependency although neither they nor earlier buildpacks provide it. */
  readonly early: Option[];
  /** The buildpacks that provide this dependency although neither they nor later buildpacks require it. */
  readonly unused: Option[];
}

function collect(trial: readonly Option[]): Dependency[] {
  const byName = new Map<string, Dependency>();
  const entry = (name: string): Dependency => {
    const known = byName.get(name) ?? { name, providers: [], requires: [], early: [], unused: [] };
    byName.set(name, known);
    return known;
  };
  for (const option of trial) {
    for (const name of option.sections.provides) entry(name).unused.push(option);
    for (const require of option.sections.requires) {
      const { providers, unused, early, requires } = entry(require.name);
      providers.push(...unused.splice(0));
      if (providers.length === 0) early.push(option);
      else requires.push(require);
    }
  }
  return [...byName.values()];
}

function resolved(trial: readonly Option[], dependencies: readonly Dependency[]): ResolvedPlan {
  return {
    group: trial.map((option) => option.id),
    entries: dependencies.map(({ name, providers, requires }) => ({
      name,
      providers: providers.map((option) => option.id),
      requires,
    })),
  };
}

/** The plan that a buildpack gets for its build: all requirements for the dependencies that this buildpack provides. */
export function entriesFor(entries: readonly PlanEntry[], id: string): Require[] {
  return entries.filter((entry) => entry.providers.includes(id)).flatMap((entry) => entry.requires);
}

/**
 * The entries that remain for later buildpacks after the buildpack `id` has built. A buildpack meets every dependency
 * that it can provide and that others require, except those that its build.toml names as `unmet`.
 */
export function withoutMet(
  entries: readonly PlanEntry[],
  id: string,
  unmet: ReadonlySet<string>,
): PlanEntry[] {
  const met = new Set(
    entriesFor(entries, id)
      .map((require) => require.name)
      .filter((name) => !unmet.has(name)),
  );
  return entries.filter((entry) => !met.has(entry.name));
}
