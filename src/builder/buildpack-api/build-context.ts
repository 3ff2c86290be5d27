import type { Progress } from '../../core/progress.ts';
import type { Limits, Sandbox } from '../../sandbox/sandbox.ts';
import type { BuildLimits } from '../build-limits.ts';
import type { BuildPlaces } from './build-mounts.ts';
import type { Environment } from './layer-environment.ts';

/** Everything that each step of one build needs. */
export interface BuildContext {
  /** The tool's name, for people. */
  readonly name: string;
  readonly toolNumber: number;
  readonly sandbox: Sandbox;
  readonly places: BuildPlaces;
  readonly guard: BuildLimits;
  readonly limits: Limits;
  readonly progress: Progress;
  readonly mask: (text: string) => string;
  /** The environment at the start of a build: PATH, HOME, language. */
  readonly environment: Readonly<Environment>;
  /** CNB_TARGET_OS, CNB_TARGET_ARCH and so on. */
  readonly target: Readonly<Environment>;
  /** The variables of the operator and of the tool, as in /platform/env. */
  readonly variables: Readonly<Record<string, string>>;
}
