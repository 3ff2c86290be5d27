import type { Progress } from '../core/progress.ts';
import type { Limits, Sandbox } from '../sandbox/sandbox.ts';
import type { BuildGuard } from './build-guard.ts';
import type { BuildPlaces } from './build-places.ts';
import type { Environment } from './layer-environment.ts';

/** What every step of one build needs. */
export interface BuildContext {
  /** The tool's name, for people. */
  readonly name: string;
  readonly toolNumber: number;
  readonly sandbox: Sandbox;
  readonly places: BuildPlaces;
  readonly guard: BuildGuard;
  readonly limits: Limits;
  readonly progress: Progress;
  readonly mask: (text: string) => string;
  /** What a build starts with: PATH, HOME, language. */
  readonly environment: Readonly<Environment>;
  /** CNB_TARGET_OS and its like. */
  readonly target: Readonly<Environment>;
  /** The operator's and the tool's variables, as in /platform/env. */
  readonly variables: Readonly<Record<string, string>>;
}
