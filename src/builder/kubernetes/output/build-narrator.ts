import type { Progress } from '../../../core/progress.ts';
import { type StepLimits, stepFailed } from '../../build-failures.ts';
import type { BuildLimits } from '../../build-limits.ts';
import { sayBuilding } from '../../buildpack-api/detection-report.ts';
import { ownIds } from '../../buildpack-api/own-buildpacks.ts';
import { LastLines } from '../../failure-reason.ts';
import { parseReference } from '../../registry/image-reference.ts';
import type { PreparedSource } from '../../source/prepared-source.ts';
import { BEGINNING_OF_DETECTOR, type BuildJob, type Phase } from '../job/build-job.ts';
import type { ContainerEnd } from '../job/build-pod.ts';
import type { KubernetesBuilderConfig } from '../kubernetes-builder-config.ts';
import { BEGINNING_OF_BUILDER, BuildOutput } from './build-output.ts';
import { DetectionOutput } from './detection-output.ts';
import { DETECTION, PHASE_WORDS, phaseFailed } from './job-failures.ts';

// The exit statuses of the lifecycle's detector if no group of buildpacks fits:
// https://github.com/buildpacks/lifecycle/blob/v0.21.0/platform/exit.go
const NOT_DETECTED = new Set([20, 21]);

/**
 * Reports the phases of one build to the person who pushes. Uses the same words as a build without a cluster, except
 * for steps that only a build in a cluster has.
 */
export class BuildNarrator {
  readonly #progress: Progress;
  readonly #source: PreparedSource;
  readonly #limits: StepLimits;
  readonly #buildMs: number;
  readonly #registryHost: string;
  readonly #isInspection: boolean;
  readonly #guard: BuildLimits;
  readonly #detection = new DetectionOutput();
  readonly #output: BuildOutput;
  /** The program that wrote the last line of the phase `build`. Null before the first line. */
  #program: 'detector' | 'builder' | null = null;
  readonly #reached = new Set<Phase>();
  /** The last lines that the running phase has printed. */
  readonly #lastLines = new LastLines();

  constructor(options: {
    readonly progress: Progress;
    readonly guard: BuildLimits;
    readonly source: PreparedSource;
    readonly config: Pick<KubernetesBuilderConfig, 'build_time' | 'build_memory' | 'build_disk'>;
    readonly job: Pick<BuildJob, 'image' | 'isInspection'>;
  }) {
    const { progress, guard, source, config, job } = options;
    this.#progress = progress;
    this.#guard = guard;
    this.#source = source;
    this.#buildMs = config.build_time;
    this.#limits = {
      processes: null,
      memoryBytes: config.build_memory,
      fileBytes: config.build_disk,
    };
    this.#isInspection = job.isInspection;
    this.#registryHost = parseReference(job.image).host;
    this.#output = new BuildOutput(progress, (buildpack) => guard.enter(buildpack));
  }

  hasReached(phase: Phase): boolean {
    return this.#reached.has(phase);
  }

  enter(phase: Phase): void {
    this.#reached.add(phase);
    this.#lastLines.clear();
    if (phase === 'build') this.#guard.enter(DETECTION);
    if (phase === 'export') this.#progress.step('Storing the image');
  }

  /** Call this with each line that a phase prints, in order. @param text - The line, with secrets masked. */
  line(phase: Phase, text: string): void {
    if (phase === 'build') this.#readBuild(text);
    this.#lastLines.add(text);
  }

  /** Call this after the last line of a phase. @throws DeployError that says why the phase failed, if it failed. */
  ended(phase: Phase, end: ContainerEnd): void {
    const isWell = end.exitCode === 0;
    if (phase !== 'build') {
      if (isWell) return;
      throw phaseFailed({
        phase,
        end,
        lines: this.#lastLines.all,
        registryHost: this.#registryHost,
        limits: this.#limits,
      });
    }
    if (this.#program === 'builder') {
      this.#output.end();
      if (!isWell) this.#output.fail(end, this.#limits);
    } else if (!isWell) this.#failDetection(end);
    else if (this.#isInspection) this.#sayDetected();
  }

  /**
   * Passes a line of the phase `build` to the reader of its program: first the detector prints, then the builder. If
   * the node has dropped the beginning of the log of a build, all lines that are left count as the builder's. An
   * inspection has only lines of the detector.
   */
  #readBuild(text: string): void {
    const isCut = this.#program === null && !this.#isInspection && text !== BEGINNING_OF_DETECTOR;
    const isBuilder = isCut || (text === BEGINNING_OF_BUILDER && this.#detection.hasResults);
    if (isBuilder && this.#program !== 'builder') {
      if (!isCut) this.#sayDetected();
      this.#guard.enter(PHASE_WORDS.build);
      this.#lastLines.clear();
      this.#program = 'builder';
    }
    this.#program ??= 'detector';
    if (this.#program === 'detector') this.#detection.read(text);
    else this.#output.read(text);
  }

  #sayDetected(): void {
    this.#detection.sayFound(this.#progress, this.#source);
    if (!this.#isInspection) sayBuilding(this.#progress, this.#source, this.#buildMs);
    else for (const warning of this.#source.warnings) this.#progress.warn(warning);
  }

  #failDetection(end: ContainerEnd): never {
    if (NOT_DETECTED.has(end.exitCode)) {
      const named = ownIds(this.#source.own);
      this.#detection.failFound(this.#progress, { source: this.#source, named, limits: this.#limits });
    }
    const { exitCode: code, isOutOfMemory } = end;
    const step = { name: 'the detection', code, signal: null, isOutOfMemory, lastLines: this.#lastLines.all };
    throw stepFailed(step, this.#limits);
  }
}
