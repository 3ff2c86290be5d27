import type { Progress } from '../../core/progress.ts';
import { duration } from '../../core/text/duration.ts';
import type { Exit } from '../../sandbox/sandbox.ts';
import { noBuildpack, notDetected, planUnresolved, type StepLimits, stepFailed } from '../build-failures.ts';
import { lookedFor } from '../source/overlooked-files.ts';
import type { PreparedSource } from '../source/prepared-source.ts';
import { nameOf } from './buildpack-store.ts';

/** How the detection of one buildpack ended. */
export interface DetectionEnd {
  readonly result: 'pass' | 'fail' | 'error';
  readonly lines: readonly string[];
  readonly end: Exit;
}

/** How each detection ended, by the id of its buildpack, in the order of the detections. */
export type DetectionEnds = ReadonlyMap<string, DetectionEnd>;

/** The facts about the source that the report of a detection shows. */
export type DetectedSource = Pick<PreparedSource, 'files' | 'overlooked' | 'warnings' | 'webLine'>;

/** At most this many lines of one detection's output are kept. */
export const MAX_LINES = 100;
/**
 * A detection begins a line with `note: ` to say why a file was ignored. Such a line is shown whether or not the
 * buildpack takes part.
 */
const NOTE = 'note: ';

/**
 * Prints two lines. The first says what the chosen buildpacks found. The second names these buildpacks and, if the
 * Procfile has a `web` line, its command. Then prints the notes of all detections (lines that say why a file was
 * ignored). For each `bin/detect` that failed with an error, prints a warning and its output.
 */
export function sayDetected(
  progress: Progress,
  chosen: readonly string[],
  { ends, source }: { readonly ends: DetectionEnds; readonly source: Pick<DetectedSource, 'webLine'> },
): void {
  const seen = chosen.map((id) => {
    const first = ends.get(id)?.lines.find((line) => !line.startsWith(NOTE));
    return first?.trim() || nameOf(id);
  });
  progress.line(seen.join(' · '));
  const start = source.webLine === null ? '' : `; starts web: ${source.webLine}`;
  progress.line(`builds with ${chosen.map(nameOf).join(', ')}${start}`);
  for (const [id, { lines, result }] of ends) {
    for (const line of lines) if (line.startsWith(NOTE)) progress.line(line.slice(NOTE.length));
    if (result !== 'error') continue;
    progress.warn(
      `The bin/detect of the buildpack ${nameOf(id)} failed; the build continues without this buildpack.`,
    );
    for (const line of lines) progress.line(line);
  }
}

/** Prints the warnings about the source, and that the build begins. */
export function sayBuilding(progress: Progress, { warnings }: PreparedSource, limitMs: number): void {
  for (const warning of warnings) progress.warn(warning);
  progress.step(`Building (limit ${duration(limitMs)})`);
}

/**
 * Call this if no group of buildpacks fits a source. Prints which files each language needs, the output of all
 * detections and the warnings about the source, and then throws.
 *
 * @throws DeployError If a detection broke, the error of `stepFailed`, such as `BUILD_FAILED`. Otherwise `BUILD_FAILED`
 * if the tool's repository brings a buildpack of its own or `buildpack try` tries one. Otherwise `NO_BUILDPACK`.
 */
export function failDetection(
  progress: Progress,
  ends: DetectionEnds,
  {
    source,
    named,
    limits,
  }: {
    readonly source: Omit<DetectedSource, 'webLine'>;
    /** The ids of the tool's own buildpacks, and of the buildpack that the command `buildpack try` tries. */
    readonly named: readonly string[];
    readonly limits: StepLimits;
  },
): never {
  const notes: string[] = [];
  for (const line of lookedFor(new Set([...ends.keys()].map(nameOf)))) progress.line(line);
  for (const [id, { lines }] of ends) {
    for (const line of lines) {
      const note = line.startsWith(NOTE) ? line.slice(NOTE.length) : null;
      if (note !== null) notes.push(note);
      progress.line(`${nameOf(id)}: ${note ?? line}`);
    }
  }
  for (const warning of source.warnings) progress.warn(warning);
  const broken = [...ends].find(([, { result }]) => result === 'error');
  if (broken !== undefined) {
    const [id, { end, lines }] = broken;
    throw stepFailed({ ...end, name: detectionOf(id), lastLines: lines }, limits);
  }
  if (named.length > 0) {
    const left = named.find((id) => ends.get(id)?.result !== 'pass');
    throw left === undefined ? planUnresolved(named) : notDetected(left, ends.get(left)?.lines.at(-1));
  }
  throw noBuildpack(source.files, [...notes, ...source.overlooked]);
}

function detectionOf(id: string): string {
  return `the detection of ${nameOf(id)}`;
}
