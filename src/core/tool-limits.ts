/** What one tool may take. Each limit has a setting for all tools, and an operator can set it for one tool. */
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

/** The limits that apply to a tool: its own, and those of the settings for all others. */
export function limitsOf(all: ToolLimits, own: Partial<ToolLimits>): ToolLimits {
  return { ...all, ...own };
}
