import type { Progress } from '../../../core/progress.ts';
import type { Exit } from '../../../sandbox/sandbox.ts';
import {
  type DetectedSource,
  type DetectionEnd,
  failDetection,
  MAX_LINES,
  sayDetected,
} from '../../buildpack-api/detection-report.ts';

interface Told extends DetectionEnd {
  result: DetectionEnd['result'];
  end: Exit;
  readonly lines: string[];
}

// The lines that the lifecycle's detector prints around the output of detections and around their results:
// https://github.com/buildpacks/lifecycle/blob/v0.21.0/phase/detector.go (Resolve)
const OUTPUT = /^={8} (Output|Error): ([^\s@]+)@[^\s@]+ ={8}$/;
const RESULTS = /^={8} Results ={8}$/;
const RESULT = /^(pass|skip|fail|err): +([^\s@]+)@[^\s@]+(?: \((-?\d+)\))?$/;
const MEMBER = /^([a-z0-9][-._/a-z0-9]*) +(\S+)$/i;

/**
 * Reads the debug output of the detector, a program of the buildpacks lifecycle. Reports it in the same words as a
 * detection without a cluster.
 */
export class DetectionOutput {
  readonly #told = new Map<string, Told>();
  #output: string[] | null = null;
  #isResults = false;
  #group: string[] = [];

  /**
   * True if the last section of the output so far has the results of the detections. The detector prints this section
   * after all others.
   */
  get hasResults(): boolean {
    return this.#isResults;
  }

  /** Call this with each line that the detector prints, in order. @param text - The line, with secrets masked. */
  read(text: string): void {
    const output = OUTPUT.exec(text);
    if (output !== null) {
      this.#output = this.#outputOf(output[2] ?? '', output[1] === 'Error');
      this.#isResults = false;
      return;
    }
    if (RESULTS.test(text)) {
      this.#output = null;
      this.#isResults = true;
      this.#group = [];
      return;
    }
    if (this.#output !== null) {
      if (this.#output.length < MAX_LINES) this.#output.push(text);
      return;
    }
    if (this.#isResults) this.#readResult(text);
  }

  /** Prints what the chosen buildpacks detected. */
  sayFound(progress: Progress, source: Pick<DetectedSource, 'webLine'>): void {
    sayDetected(progress, this.#group, { ends: this.#told, source });
  }

  /**
   * Prints the output of all detections, because no group of buildpacks fits. @throws DeployError: see `failDetection`.
   */
  failFound(progress: Progress, facts: Parameters<typeof failDetection>[2]): never {
    failDetection(progress, this.#told, facts);
  }

  /**
   * Returns the list to which the next lines of this buildpack's detection are added. The lifecycle prints the output
   * of a detection once for each group that has the buildpack, so each time begins a new list. But the text of an error
   * (`isMore`) is added to the buildpack's last list.
   */
  #outputOf(id: string, isMore: boolean): string[] {
    const known = this.#told.get(id);
    if (known !== undefined && isMore) return known.lines;
    const told: Told = { result: 'fail', end: exited(1), lines: [] };
    this.#told.set(id, told);
    return told.lines;
  }

  #readResult(text: string): void {
    const result = RESULT.exec(text);
    if (result !== null) {
      const [, word, id = '', code] = result;
      const told: Told = this.#told.get(id) ?? { result: 'fail', end: exited(1), lines: [] };
      if (word === 'pass') told.result = 'pass';
      if (word === 'err') told.result = 'error';
      if (code !== undefined) told.end = exited(Number(code));
      this.#told.set(id, told);
      return;
    }
    const member = MEMBER.exec(text)?.[1];
    if (member !== undefined && this.#told.has(member)) this.#group.push(member);
  }
}

function exited(code: number): Exit {
  return { code, signal: null, isOutOfMemory: false };
}
