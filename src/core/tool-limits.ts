/**
 * How much one tool may use. Each limit has a setting for all tools, and an operator can set another limit for one
 * tool.
 */
export interface ToolLimits {
  /** The most memory of one process of the tool, in bytes (`run_memory`). */
  readonly memory: number;
  /** The most builds within 24 hours (`builds_a_day`). */
  readonly builds: number;
  /** The most processes of one type (`max_replicas`). */
  readonly replicas: number;
  /** The largest repository, in bytes (`repository_size`). Pushes to a larger repository are refused. */
  readonly repository: number;
}

/** Returns the limits in `wanted` that are lower than the same limits in `all`. */
export function lowerLimits(all: ToolLimits, wanted: Partial<ToolLimits>): Partial<ToolLimits> {
  return chosen(wanted, (name, value) => value < all[name]);
}

/** Returns the limits in `wanted` that are higher than the same limits in `all`. */
export function higherLimits(all: ToolLimits, wanted: Partial<ToolLimits>): Partial<ToolLimits> {
  return chosen(wanted, (name, value) => value > all[name]);
}

/**
 * Returns the limits of a tool that are lower than the limits `own` of its preview, or that the preview does not have.
 * Leaves out `replicas`, because a preview always has a limit of its own.
 */
export function lowest(own: Partial<ToolLimits>, ofTool: Partial<ToolLimits>): Partial<ToolLimits> {
  return chosen(
    ofTool,
    (name, value) => name !== 'replicas' && value < (own[name] ?? Number.POSITIVE_INFINITY),
  );
}

function chosen(
  limits: Partial<ToolLimits>,
  isChosen: (name: keyof ToolLimits, value: number) => boolean,
): Partial<ToolLimits> {
  const entries = Object.entries(limits) as [keyof ToolLimits, number][];
  return Object.fromEntries(entries.filter(([name, value]) => isChosen(name, value)));
}

/**
 * Returns the limits that apply to a tool: for each limit, the value set for this tool (`own`), or else that of the
 * setting.
 */
export function limitsOf(all: ToolLimits, own: Partial<ToolLimits>): ToolLimits {
  return { ...all, ...own };
}
