import { DeployError } from '../core/errors.ts';
import { duration } from '../core/text/duration.ts';
import { mebibytes } from '../core/text/mebibytes.ts';
import { passableErrorIn } from '../sandbox/process/argument-limits.ts';
import { KERNEL_LIMITS_HINT, type Limits, OVER_KERNEL_LIMITS } from '../sandbox/sandbox.ts';
import { failureHint, libraryHint, repositoryHint } from './failure-hints.ts';
import { failureReason, refusalIn } from './failure-reason.ts';
import { otherLanguage, siteGenerator } from './other-languages.ts';

export function timedOut(limitMs: number, during: string): DeployError {
  return new DeployError(
    'BUILD_TIMED_OUT',
    `the build took longer than its limit of ${duration(limitMs)} (build_time) and was ended during ${during}`,
    'Push again: outside a cluster, the next build finds the downloads of this one. If every build needs longer, ask the operator to raise build_time.',
  );
}

export function outOfDisk(limitBytes: number, largest: string): DeployError {
  return new DeployError(
    'BUILD_OUT_OF_DISK',
    `the build needs more than its limit of ${mebibytes(limitBytes)} of disk (build_disk). Its largest folders: ${largest}`,
    'Leave large files and packages out, or ask the operator to raise build_disk. If the build cache is the largest folder, push without it: git push -o no-cache toolforge main.',
  );
}

export function tooManyOpenFiles(limit: number): DeployError {
  return new DeployError(
    'BUILD_OUT_OF_DISK',
    `the programs of the build opened too many files at the same time (together, they made room for more than ${limit}), or mapped far too many files into memory`,
    'Let the build run fewer programs at the same time, or close files when they have been read.',
  );
}

export function movedTooMuch(): DeployError {
  return new DeployError(
    'BUILD_OUT_OF_DISK',
    'the programs of the build moved files and folders all the time, so that their size could not be measured',
    'Let the build move or rename fewer files and folders at the same time.',
  );
}

export function outOfFiles(limit: number, largest: string): DeployError {
  return new DeployError(
    'BUILD_OUT_OF_DISK',
    `the build made more than its limit of ${limit} files and folders (build_files). Most of them are in: ${largest}`,
    'Leave out files that the build does not need, or ask the operator to raise build_files. If the build cache had the most files, just push again: the cache has been emptied.',
  );
}

export function tooManyLinks(cause: Error): DeployError {
  return new DeployError(
    'BUILD_FAILED',
    'the folders of the build have too many hard links with long paths, so the server cannot copy them',
    'Let the build make fewer hard links. If it has restored them from an earlier build, push without the cache: git push -o no-cache toolforge main.',
    { cause },
  );
}

export function filledTheDisk(): DeployError {
  return new DeployError(
    'BUILD_OUT_OF_DISK',
    'the build was ended because it was filling the disk of this server, which is nearly full',
    'Tell the operator, and push again later.',
  );
}

/** The error for an artifact that was deleted while it was being promoted. */
export function promotedGone(from: string, tool: string): DeployError {
  return new DeployError(
    'ARTIFACT_GONE',
    `the promoted build of ${from} has been deleted`,
    `Promote what is live on ${from} now: \`promote ${from} ${tool}\``,
  );
}

export function artifactTooLarge(limitBytes: number, bytes: number, largest: string): DeployError {
  return new DeployError(
    'BUILD_TOO_LARGE',
    `the result of the build has ${mebibytes(bytes)}, more than the limit of ${mebibytes(limitBytes)} (artifact_size). Its largest folders: ${largest}`,
    'Leave out files that the tool does not need to run (name them in a .slugignore), or ask the operator to raise artifact_size.',
  );
}

export function tooMuchOutput(limitBytes: number, during: string): DeployError {
  return new DeployError(
    'BUILD_TOO_MUCH_OUTPUT',
    `the build printed more than its limit of ${mebibytes(limitBytes)} (build_output) and was ended during ${during}`,
    'Make the build print less (look for a verbose or debug option, or for an endless loop), and push again.',
  );
}

function outOfMemory(limitBytes: number, name: string): DeployError {
  return new DeployError(
    'BUILD_OUT_OF_MEMORY',
    `${name} needs more than the build’s limit of ${mebibytes(limitBytes)} of memory (build_memory)`,
    'Use packages that need no compiler (for Python: wheels), run fewer compilers at once, or ask the operator to raise build_memory.',
  );
}

function outOfProcesses(limit: number | null, name: string): DeployError {
  const setting = limit === null ? 'podPidsLimit' : 'build_processes';
  const allowed = limit === null ? 'the kubelet allows one pod' : `the build’s limit of ${limit}`;
  return new DeployError(
    'BUILD_OUT_OF_PROCESSES',
    `${name} started more processes and threads than ${allowed} (${setting})`,
    `Run fewer jobs at once (for example make -j2), or ask the operator to raise ${setting}.`,
  );
}

/** The limits of a build. `processes` is null in a cluster, because the kubelet limits the processes of a pod. */
export type StepLimits = Omit<Limits, 'processes'> & { readonly processes: number | null };

/** A failed step of a build: a buildpack, a detection or a phase. */
export interface FailedStep {
  /** The name of the step, such as `pip` or `the detection`. */
  readonly name: string;
  readonly code: number | null;
  readonly signal: string | null;
  readonly isOutOfMemory: boolean;
  /** True if the server ended the step because it had too many locks of files or unread netlink messages. */
  readonly isOverKernelLimits?: boolean;
  /** The last lines that the step printed, with secrets masked. The newest is the last. */
  readonly lastLines: readonly string[];
}

const MAX_LINE_CHARACTERS = 2000;
const NO_MEMORY =
  /\bMemoryError\b|JavaScript heap out of memory|Cannot allocate memory|std::bad_alloc|virtual memory exhausted/;
const START_OF_PROCESS = /fork|spawn|pthread_create|BlockingIOError/;
const NO_RESOURCE = ['Resource temporarily unavailable', 'EAGAIN'];
const LOOK_ABOVE = 'Look for the first error in the lines above, correct it, commit and push again.';
const CORRECT_IT = 'Correct this, commit and push again.';
/** The hint if the buildpack printed a sentence about its failure that already says to ask the operator. */
const THEN_PUSH = 'Then push again.';
const TOO_LARGE = /File size limit exceeded|File too large|\bEFBIG\b/;
const NO_SPACE = /No space left on device|Disk quota exceeded/;

/**
 * Whether a line says that a process or thread could not start. Searches in two steps, because a single regular
 * expression would scan the rest of the line after each `fork`.
 */
function lacksProcess(line: string): boolean {
  if (line.includes("can't start new thread")) return true;
  const end = Math.max(...NO_RESOURCE.map((words) => line.lastIndexOf(words, MAX_LINE_CHARACTERS)));
  return end >= 0 && START_OF_PROCESS.test(line.slice(0, end));
}

/**
 * Returns the error that says why a step failed. If the step ended because of a limit of the build, the error names
 * this limit.
 */
export function stepFailed(step: FailedStep, limits: StepLimits): DeployError {
  // Cut long lines: some of the regular expressions below scan the rest of the line at each word, so a long line would
  // block the server.
  const text = step.lastLines.map((line) => line.slice(0, MAX_LINE_CHARACTERS)).join('\n');
  const notPassable = passableErrorIn(text);
  if (notPassable !== null) return notPassable;
  if (step.isOverKernelLimits) {
    return new DeployError(
      'BUILD_FAILED',
      `${step.name} was ended because it had ${OVER_KERNEL_LIMITS}`,
      `${KERNEL_LIMITS_HINT} Then push again.`,
    );
  }
  if (step.isOutOfMemory || NO_MEMORY.test(text)) return outOfMemory(limits.memoryBytes, step.name);
  if (step.lastLines.some(lacksProcess)) return outOfProcesses(limits.processes, step.name);
  if (step.signal === 'SIGXFSZ' || TOO_LARGE.test(text)) {
    return outOfDisk(limits.fileBytes, `a single file, written by ${step.name}`);
  }
  if (NO_SPACE.test(text)) {
    return new DeployError(
      'BUILD_FAILED',
      `${step.name} failed because no space was left on the disk`,
      'This is not your tool’s fault: tell the operator, and push again later.',
    );
  }
  const howItEnded = step.code === null ? `was ended by ${step.signal ?? 'a signal'}` : `exited ${step.code}`;
  const reason = failureReason(step.lastLines);
  const colonAndReason = reason === null ? '' : `: ${reason}`;
  return new DeployError(
    'BUILD_FAILED',
    `${step.name} ${howItEnded}${colonAndReason}`,
    hintOf(step, text, reason),
  );
}

/**
 * The hint for a failed step. If the last line is a sentence in which the buildpack itself says why it failed, searches
 * only this sentence for known causes: the lines above it, such as those of a failed download, could lead to contrary
 * advice. But `libraryHint` searches all lines even then.
 */
function hintOf({ lastLines }: FailedStep, text: string, reason: string | null): string {
  const refusal = refusalIn(lastLines);
  if (refusal === null) return failureHint(text) ?? repositoryHint(reason) ?? LOOK_ABOVE;
  return libraryHint(text) ?? failureHint(refusal) ?? (/\boperator\b/.test(refusal) ? THEN_PUSH : CORRECT_IT);
}

/** The error of a buildpack that broke a rule of the Buildpack API. */
export function brokenBuildpack(id: string, why: string, options?: ErrorOptions): DeployError {
  return new DeployError(
    'BUILD_FAILED',
    `the buildpack ${id} wrote a result that the server cannot use: ${why}`,
    'This is a mistake in the buildpack, not in your tool. Tell the operator. If you wrote the buildpack, correct it.',
    options,
  );
}

/**
 * The error if the `bin/detect` of a buildpack exited with 100, although project.toml or `buildpack try` names this
 * buildpack.
 *
 * @param said - The last line that the detection printed. Undefined if it printed nothing.
 */
export function notDetected(id: string, said: string | undefined): DeployError {
  return new DeployError(
    'BUILD_FAILED',
    `the buildpack ${id} does not take part, because its bin/detect exited 100${said === undefined ? '' : ` (${said.slice(0, 200)})`}`,
    'The program bin/detect must exit with 0 in the folder of this source. Change it, or do not name this buildpack.',
  );
}

/**
 * The error if no group of buildpacks fits, although each buildpack that project.toml or `buildpack try` names has
 * passed its detection.
 */
export function planUnresolved(ids: readonly string[]): DeployError {
  return new DeployError(
    'BUILD_FAILED',
    `no group of buildpacks with ${ids.join(' and ')} fits together: a buildpack requires what neither it nor a buildpack before it provides, or provides what neither it nor a buildpack after it requires`,
    'Let bin/detect write both [[provides]] and [[requires]] into the build plan for what the buildpack itself installs.',
  );
}

/**
 * The error of a source that no buildpack recognised.
 *
 * @param files - The names of the files and folders at the top of the source.
 * @param notes - Why files were ignored: notes of the detections, and names of files that look like mistakes.
 */
export function noBuildpack(files: readonly string[], notes: readonly string[]): DeployError {
  const shown = files.slice(0, 12).map((file) => file.replace(/[^\x20-\x7e]/g, '?'));
  const more = files.length > shown.length ? ` and ${files.length - shown.length} more` : '';
  const seen =
    files.length === 0
      ? 'The repository is empty'
      : `At the top of the repository: ${shown.join(', ')}${more}`;
  const other = otherLanguage(files);
  const site = siteGenerator(files);
  const language =
    other === null ? [] : [`${other.file} is for ${other.language}, which has no buildpack here`];
  const generator =
    site === null ? [] : [`${site.file} is for ${site.generator}, and no buildpack makes the site with it`];
  const notMade = other === null ? NAME_FILES : COMMIT_PROGRAM;
  return new DeployError(
    'NO_BUILDPACK',
    ['no buildpack recognises this tool', ...language, ...generator, ...notes, seen].join('. '),
    site === null ? notMade : COMMIT_SITE,
  );
}

const NAME_FILES =
  'The lines above name the files that each language needs. Add one of them at the top of the repository, or a Procfile with `web: COMMAND`, commit and push again.';
const COMMIT_PROGRAM =
  'Compile the tool elsewhere, for Debian, and commit the result with a Procfile that starts it (`web: ./PROGRAM`). Or bring a buildpack for this language in the repository: docs/writing-a-buildpack.md.';
const COMMIT_SITE =
  'Make the site on your machine, commit the pages as a folder public/ with an index.html, and push again. If a program of npm makes the site, a package.json with a script named build is enough.';

/** The error of a build that succeeded but defined no process. */
export function noProcess(): DeployError {
  return new DeployError(
    'NO_PROCESS',
    'nothing in the repository says how to start this tool',
    'Add a file named Procfile with a line such as `web: python3 app.py` or `web: node server.js` (it must listen on $PORT), or a toolforge.yaml with the commands of a bot, commit and push again. If the tool is only a web site, commit its pages as a folder public/ with an index.html.',
  );
}

/**
 * The error of a tool with more process types that run all the time than `process_types` allows. Their number is
 * limited, because each starts at least one process.
 */
export function tooManyProcesses(count: number, most: number): DeployError {
  return new DeployError(
    'TOO_MANY_PROCESSES',
    `the tool has ${count} process types that run all the time, but at most ${most} are allowed (process_types)`,
    'Let one process type do the work of several, or ask the operator to raise process_types.',
  );
}

export function tooManyTypes(count: number, most: number): DeployError {
  return new DeployError(
    'TOO_MANY_PROCESSES',
    `the tool has ${count} process types, named commands included, but at most ${most} are allowed`,
    'Let one command do the work of several, for example by an argument.',
  );
}

export function commandsTooLong(bytes: number, most: number): DeployError {
  return new DeployError(
    'COMMANDS_TOO_LONG',
    `the commands of all processes together have ${bytes} bytes, but at most ${most} are allowed`,
    'Move the commands into scripts in the repository, and let the processes run these scripts.',
  );
}
