import type { Progress } from '../../../core/progress.ts';
import { brokenBuildpack, type StepLimits, stepFailed } from '../../build-failures.ts';
import { say } from '../../buildpack-api/build-phase.ts';
import { nameOf } from '../../buildpack-api/buildpack-store.ts';
import { LastLines } from '../../failure-reason.ts';
import type { ContainerEnd } from '../job/build-pod.ts';

// The lines that the lifecycle prints around the output of buildpacks. They come from cmd/lifecycle/cli/command.go,
// phase/builder.go and buildpack/build.go in https://github.com/buildpacks/lifecycle/tree/v0.21.0
export const BEGINNING_OF_BUILDER = 'Starting builder...';
const BUILDPACK = /^Running build for buildpack ([^\s@]+)@[^\s@]+$/;
const BEGIN = 'Running build command';
const END = 'Processing layers';
const ERROR = /^ERROR: (?:failed to build: )?(.*)$/;
const LAST = /^ERROR: failed to build: (exit status \d+|signal: .*)$/;
const TIMER = /^Timer: Builder ran for \S+ and ended at \S+$/;
const MAX_HELD = 20;
/**
 * If more lines than this come before the first known line of the builder, the beginning of the log is missing: the
 * builder prints fewer lines before it runs the first buildpack.
 */
const MAX_BEFORE = 20;
/** The exit status of the lifecycle's builder if a buildpack failed: platform.FailedBuildWithErrors. */
const BUILDPACK_FAILED = 51;

/**
 * Reads the debug output of the builder, a program of the buildpacks lifecycle. Passes on the lines of buildpacks,
 * remembers which buildpack runs, and drops the lifecycle's own lines.
 */
export class BuildOutput {
  readonly #progress: Progress;
  readonly #entered: (buildpack: string) => void;
  readonly #lastLines = new LastLines();
  #buildpack: string | null = null;
  #isOutput = false;
  #error = '';
  /**
   * Lines that look like the lifecycle's last lines. They are kept here until another line or the end of the output
   * follows.
   */
  readonly #held: string[] = [];
  /**
   * All lines so far, while it is unknown whether the container's log is complete. Null once this is known. The
   * beginning of a long log can be missing, because the node drops the oldest lines if nobody reads them in time.
   */
  #before: string[] | null = [];

  /** @param entered - Called with the name of each buildpack when it starts. */
  constructor(progress: Progress, entered: (buildpack: string) => void) {
    this.#progress = progress;
    this.#entered = entered;
  }

  /** Call this with each line that the builder prints, in order. @param text - The line, with secrets masked. */
  read(text: string): void {
    const next = this.#isOutput ? null : BUILDPACK.exec(text);
    if (next !== null) {
      this.#before = null;
      this.#buildpack = next[1] ?? '';
      this.#lastLines.clear();
      this.#entered(nameOf(this.#buildpack));
      return;
    }
    if (!this.#isOutput) {
      if (text === BEGINNING_OF_BUILDER) this.#before = null;
      this.#error = ERROR.exec(text)?.[1] ?? this.#error;
      this.#isOutput = text === BEGIN;
      this.#before?.push(text);
      if ((this.#before?.length ?? 0) > MAX_BEFORE) this.end();
      return;
    }
    const last = LAST.exec(text)?.[1] ?? null;
    if (last !== null) this.#error = last;
    // A buildpack may print lines that look like the lifecycle's last lines. They are the lifecycle's own only if no
    // other line follows. So keep them, and print them only when another line follows.
    if (last !== null || TIMER.test(text)) {
      if (this.#held.length < MAX_HELD) this.#held.push(text);
      return;
    }
    for (const held of this.#held.splice(0)) this.#say(held);
    if (text === END) this.#isOutput = false;
    else this.#say(text);
  }

  /**
   * Must be called after the last line. If no line has shown that the container's log is complete, warns that its
   * beginning may be missing, and prints the lines so far as output of a buildpack.
   */
  end(): void {
    if (this.#before === null) return;
    const lines = this.#before;
    this.#before = null;
    this.#isOutput = true;
    if (lines.length > 0)
      this.#progress.warn(
        'Lines of the build’s output may be missing here, because the cluster keeps only the newest lines.',
      );
    for (const line of lines) this.read(line);
  }

  /** Throws a DeployError that says why the phase failed. @param end - How the container of the phase ended. */
  fail(end: ContainerEnd, limits: StepLimits): never {
    const name = this.#buildpack === null ? 'the build' : nameOf(this.#buildpack);
    const code = /^exit status (\d+)$/.exec(this.#error)?.[1];
    const signal = /^signal: (.*)$/.exec(this.#error)?.[1];
    const isOfBuildpack = end.exitCode === BUILDPACK_FAILED && (code ?? signal) !== undefined;
    if (
      this.#buildpack !== null &&
      !isOfBuildpack &&
      !end.isOutOfMemory &&
      this.#error !== '' &&
      end.exitCode < 128
    ) {
      throw brokenBuildpack(this.#buildpack, this.#error.slice(0, 300));
    }
    throw stepFailed(
      {
        name,
        code: code !== undefined ? Number(code) : signal === undefined ? end.exitCode : null,
        signal: signal === undefined ? null : signal === 'killed' ? 'SIGKILL' : signal,
        isOutOfMemory: end.isOutOfMemory,
        lastLines: this.#lastLines.all,
      },
      limits,
    );
  }

  #say(text: string): void {
    this.#lastLines.add(text);
    say(this.#progress, text);
  }
}
