import type { Progress } from '../../../core/progress.ts';
import { noBuildpack, type StepLimits, stepFailed } from '../../build-failures.ts';
import { NOTE, nameOf } from '../../buildpack-api/detection.ts';
import { misspeltProcfile } from '../../source/procfile.ts';

/** The result and output of one buildpack's detection. */
interface Told {
  result: 'pass' | 'fail' | 'error';
  /** The exit status of a detection that broke; null = it could not be run. */
  code: number | null;
  readonly lines: string[];
}

// https://github.com/buildpacks/lifecycle/blob/v0.21.0/phase/detector.go (Resolve)
const OUTPUT = /^={8} (Output|Error): ([^\s@]+)@[^\s@]+ ={8}$/;
const RESULTS = /^={8} Results ={8}$/;
const RESULT = /^(pass|skip|fail|err): +([^\s@]+)@[^\s@]+(?: \((-?\d+)\))?$/;
const MEMBER = /^([a-z0-9][-._/a-z0-9]*) +(\S+)$/i;
/** The number of output lines that are kept of each detection. */
const MAX_LINES = 100;

/**
 * Reads the debug output of the lifecycle's detector, and reports it in the words of the embedded builder.
 */
export class DetectionOutput {
  readonly #told = new Map<string, Told>();
  #output: string[] | null = null;
  #isResults = false;
  #group: string[] = [];

  /** @param text - One line, masked. */
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

  /** Reports what the chosen buildpacks detected in one line, then the notes and the broken detections of all. */
  sayFound(progress: Progress): void {
    const seen = this.#group.map((id) => {
      const first =
        this.#told
          .get(id)
          ?.lines.find((line) => !line.startsWith(NOTE))
          ?.trim() ?? '';
      return first === '' ? nameOf(id) : first;
    });
    progress.line(seen.join(' · '));
    for (const [id, { lines, result }] of this.#told) {
      for (const line of lines) if (line.startsWith(NOTE)) progress.line(line.slice(NOTE.length));
      if (result !== 'error') continue;
      progress.warn(`The detection of ${nameOf(id)} broke; the build goes on without it.`);
      for (const line of lines) progress.line(line);
    }
  }

  /**
   * Reports why no group of buildpacks fits.
   *
   * @param files - The names at the top of the source.
   * @throws DeployError `NO_BUILDPACK`, or `BUILD_FAILED` if a detection broke.
   */
  failFound(progress: Progress, files: readonly string[], limits: StepLimits): never {
    const notes: string[] = [];
    for (const [id, { lines }] of this.#told) {
      for (const line of lines) {
        const note = line.startsWith(NOTE) ? line.slice(NOTE.length) : null;
        if (note !== null) notes.push(note);
        progress.line(`${nameOf(id)}: ${note ?? line}`);
      }
    }
    const broken = [...this.#told].find(([, { result }]) => result === 'error');
    if (broken !== undefined) {
      const [id, { code, lines }] = broken;
      const step = { name: `The detection of ${nameOf(id)}`, signal: null, isOutOfMemory: false };
      throw stepFailed({ ...step, code: code ?? 1, lastLines: lines }, limits);
    }
    const misspelt = misspeltProcfile(files);
    if (misspelt !== null) notes.push(misspelt);
    throw noBuildpack(files, notes);
  }

  /** The lifecycle prints a buildpack's output once per group, always the same. `isMore`: an error after the output. */
  #outputOf(id: string, isMore: boolean): string[] {
    const known = this.#told.get(id);
    if (known !== undefined && isMore) return known.lines;
    const told: Told = { result: 'fail', code: null, lines: [] };
    this.#told.set(id, told);
    return told.lines;
  }

  #readResult(text: string): void {
    const result = RESULT.exec(text);
    if (result !== null) {
      const [, word, id = '', code] = result;
      const told = this.#told.get(id) ?? { result: 'fail', code: null, lines: [] };
      if (word === 'pass') told.result = 'pass';
      if (word === 'err') told.result = 'error';
      if (code !== undefined) told.code = Number(code);
      this.#told.set(id, told);
      return;
    }
    const member = MEMBER.exec(text)?.[1];
    if (member !== undefined && this.#told.has(member)) this.#group.push(member);
  }
}
