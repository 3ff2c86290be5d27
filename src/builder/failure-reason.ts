import { compilerErrors } from './compiler-errors.ts';

/**
 * To find the reason why a step failed, the server searches this many of the last lines of the step's output. After the
 * first line of an error, npm prints up to 30 more lines, and uv up to 100.
 */
const KEPT_LINES = 120;

/** Keeps the last 120 lines of a step's output. Secrets in the lines must be masked already. */
export class LastLines {
  readonly #lines: string[] = [];

  /** The kept lines. The newest is the last. */
  get all(): readonly string[] {
    return this.#lines;
  }

  add(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }

  clear(): void {
    this.#lines.length = 0;
  }
}

const MAX_LENGTH = 160;
/**
 * The most characters of a sentence in which a buildpack says why it failed. It may be longer than other reasons,
 * because it also says what to do.
 */
const MAX_REFUSAL_LENGTH = 400;
/**
 * At most this many characters of a line are searched, because the regular expressions below scan the rest of the line
 * at each word.
 */
const MAX_LINE = 1000;
const REFUSAL = /^ !\s+/;
const CAUSE = /^\s*(?:[├╰]─▶|cause:)\s*/i;
const HAS_WORDS = /[\p{L}\p{N}]/u;
/** Matches the lines in which compilers, package managers and language runtimes name an error. */
const ERRORS = [
  // uv, cargo, git, pip, yarn 1: the line begins with `error` or `fatal`.
  /^(error|fatal)\b(?!.*\bduring build:$)/i,
  // pnpm: the line begins with an error code.
  /^ERR_[A-Z0-9_]+\b/,
  // Yarn 2 and later. Lines with more than one space after `│` do not match, because they only describe the context of
  // an error.
  /^➤ YN0{0,3}[1-9]\d*: │ \S.*(error|forbidden|failed|couldn't|can't|not found|unable)/i,
  // node-gyp, which compiles packages. Its lines about a failed make or gyp do not match: earlier lines say why.
  /^gyp ERR! stack Error: (?!`(make|gyp)` failed)|^gyp: /,
  // Maven and Gradle.
  /^\[ERROR\] |^\* What went wrong:|^FAILURE: /,
  // Next.js.
  /^(Module not found|Type error): |^`next\/font` error:$/,
  // TypeScript, Go and C compilers: the line begins with the place in the file.
  /^\S+?[:(]\d+[,:]\d+\)?:? .*\b(error|undefined|cannot|not|missing|imported)\b/,
  // Go, if the checksum of a module differs from the one in go.sum.
  /^(\S+: )?verifying \S+: checksum mismatch$/,
  // Exceptions of JavaScript, Python, Ruby and Java.
  /^(Uncaught )?([\w.]+\.)?([A-Z]\w*)?(Error|Exception)\b(?: \[\w+\])?:/,
];
/** What Vite prints in the line before an error. The error may begin with any word. */
const BEFORE_ERROR = /^error during build:$/;
/** What Yarn 2 and node-gyp print before the text of an error. */
const PREFIX = /^➤ YN\d+: │ |^gyp ERR! stack Error: /;
/** Errors that only repeat that an earlier error ended a program. */
const CONSEQUENCE =
  /^error: (command .+ (failed|returned non-zero)|subprocess-exited-with-error|metadata-generation-failed)\b/i;
/** The first line of an error of uv. The lines with its causes follow. */
const HEADLINE = /^\s*(?:error:|×)\s+/;
/** A step of uv's proof that no versions fit: `Because A and B, we can conclude that C. And because D, we can …`. */
const PREMISE = /^(?:and )?because (.+?), we can conclude that /i;
const NPM = /^npm (?:error|ERR!)\s*(.*)$/;
/** Matches lines in which npm describes the context of an error, not the error. */
const NPM_FACT = /^(code|errno|syscall|path|dest|command|signal|workspace|location|in workspace|at )\b/;
/** npm may begin an error with a label: one of these words, or the code of the error in lower case. */
const LABEL = /^(notarget|network)$/;

/**
 * Why a step failed, in one line of at most 160 characters, or 400 for a sentence of a buildpack. The line is taken
 * from the last lines of the step's output. Null if no line has words.
 *
 * If the last line that has words begins with ` ! `, the buildpack itself says why it failed, and that line is the
 * reason. An earlier line with ` ! ` was only a warning. Otherwise the reason is the error that a known program
 * printed, with its last cause. If no known program printed an error, the reason is the last line that has words.
 */
export function failureReason(lines: readonly string[]): string | null {
  const found = candidates(lines).filter((text) => text !== '');
  const most = refusalIn(lines) !== null ? MAX_REFUSAL_LENGTH : MAX_LENGTH;
  return found.find((text) => text.length <= most) ?? beginning(found[0] ?? '', most);
}

/**
 * The buildpack's own sentence about why it failed, cut to 1,000 characters: the last line that has words, if it begins
 * with ` ! `. Otherwise null.
 */
export function refusalIn(lines: readonly string[]): string | null {
  const last = lines.map((line) => line.slice(0, MAX_LINE)).findLast((line) => HAS_WORDS.test(line)) ?? '';
  return REFUSAL.test(last) ? last.replace(REFUSAL, '').trim() : null;
}

/**
 * The first sentences of the text, as many as fit into `most` characters. If not even one fits, the first characters.
 * Null if the text is empty.
 */
function beginning(text: string, most: number): string | null {
  if (text === '') return null;
  const end = text.slice(0, most).lastIndexOf('. ');
  return end < 0 ? `${text.slice(0, most - 1).trimEnd()}…` : text.slice(0, end + 1);
}

function candidates(lines: readonly string[]): string[] {
  const telling = lines
    .map((line) => line.slice(0, MAX_LINE).trimEnd())
    .filter((line) => HAS_WORDS.test(line))
    .map((line, index, all) => (BEFORE_ERROR.test(all[index - 1]?.trim() ?? '') ? asError(line) : line));
  const last = telling.at(-1) ?? '';
  if (REFUSAL.test(last)) return [last.replace(REFUSAL, '').trim()];
  const compiled = compilerErrors(telling);
  if (compiled.length > 0) return compiled;
  const headline = telling.findLastIndex(
    (line, index) => HEADLINE.test(line) && CAUSE.test(telling[index + 1] ?? ''),
  );
  if (headline >= 0) return uvReasons(telling.slice(headline));
  const others = telling.filter((line) => !NPM.test(line.trim()));
  const npm = npmReason(telling);
  const index = lastError(others);
  const error = withNextLine(others, index);
  if (npm !== null) {
    // If a script failed, npm names only the script, and the script's output says why. npm may put `npm error` before
    // each line of that output.
    const said = telling.map((line) => line.trim().replace(NPM, '$1'));
    const inScript = error ?? textOf(said[lastError(said)]);
    return [...(npm.isScript && inScript !== null ? [inScript] : []), npm.reason, withoutEnd(npm.reason)];
  }
  if (error === null) return [last.trim()];
  const cause = others.slice(index + 1).findLast((line) => CAUSE.test(line));
  if (cause === undefined) return [error];
  const causeText = cause.replace(CAUSE, '').trim();
  return [`${error.replace(/:$/, '')}: ${causeText}`, causeText, error];
}

function isError(line: string): boolean {
  return ERRORS.some((error) => error.test(line.trim()));
}

function asError(line: string): string {
  return isError(line) ? line : `Error: ${line.trim()}`;
}

/**
 * The index of the last line that names an error, or -1 if no line does. A line that only repeats that an earlier error
 * ended a program (`CONSEQUENCE`) is taken only if no other line names an error.
 */
function lastError(lines: readonly string[]): number {
  const index = lines.findLastIndex((line) => isError(line) && !CONSEQUENCE.test(line.trim()));
  return index < 0 ? lines.findLastIndex(isError) : index;
}

/**
 * The reasons that uv gives, the best first.
 *
 * @param lines - The headline of the error, and all lines below it.
 */
function uvReasons([first = '', ...below]: readonly string[]): string[] {
  const headline = first.replace(HEADLINE, '').replace(/:$/, '').trim();
  const lines = below.map((line) => line.replace(CAUSE, '').trim());
  const premises = lines.flatMap((line) => PREMISE.exec(line)?.[1] ?? []);
  if (premises.length > 0) return [premises.join(', and '), premises.at(-1) ?? ''];
  const last = below.findLastIndex((line) => CAUSE.test(line));
  const cause = lines[last] ?? '';
  const [, file] = /^Couldn't parse requirement in (`[^`]+`)/.exec(headline) ?? [];
  if (file !== undefined) {
    const reason = `${file}: “${lines[last + 1] ?? ''}” is not a requirement`;
    return [`${reason}: ${cause}`, reason, headline];
  }
  const error = withNextLine(lines, lastError(below)) ?? cause;
  // If a download failed, the headline of uv's error does not have the address, so look for the line that has it.
  const fetch = lines.find((line) => /^Failed to fetch: \S+$/.test(line));
  return [...(fetch === undefined ? [] : [`${fetch}: ${error}`]), `${headline}: ${error}`, error, headline];
}

/**
 * The text of the line at `index`. If this line ends with a colon, the text of the next line is added, unless the next
 * line names a cause (`CAUSE`). Null if there is no line at `index`.
 */
function withNextLine(lines: readonly string[], index: number): string | null {
  const text = textOf(lines[index]);
  const next = lines[index + 1];
  if (text === null || next === undefined || !text.endsWith(':') || CAUSE.test(next)) return text;
  return `${text} ${textOf(next)}`;
}

function textOf(line: string | undefined): string | null {
  return line?.trim().replace(PREFIX, '').replaceAll(/\s+/g, ' ') ?? null;
}

/** The text up to its last colon, for errors that end in long values. */
function withoutEnd(text: string): string {
  return text.replace(/: [^:]*$/, '');
}

/**
 * The code (if npm prints one) and the first sentence of an npm error, for instance `ERESOLVE: unable to resolve
 * dependency tree`. If a script failed, its command and exit status instead. Null if npm printed no error.
 */
function npmReason(lines: readonly string[]): { reason: string; isScript: boolean } | null {
  const said = lines.flatMap((line) => NPM.exec(line.trim())?.[1]?.trim() || []);
  const code = said.map((line) => /^code (\S+)$/.exec(line)?.[1]).find((found) => found !== undefined);
  if (code === undefined)
    return said[0] === undefined ? null : { reason: firstSentence(said[0]), isScript: false };
  // If a script failed, npm prints the script's exit status or ELIFECYCLE instead of another error code.
  if (/^(\d+|ELIFECYCLE)$/.test(code)) {
    const command = said
      .map((line) => /^command (?!failed$)(.+)$/.exec(line)?.[1])
      .find((found) => found !== undefined);
    return { reason: `${command ?? 'a script'} failed with ${code}`, isScript: true };
  }
  const text = said.find((line) => !NPM_FACT.test(line));
  if (text === undefined) return { reason: code, isScript: false };
  const [word = ''] = text.split(/[ :]/, 1);
  const conflict = code === 'ERESOLVE' ? peerConflict(said) : null;
  if (conflict !== null) return { reason: `${code}: ${conflict}`, isScript: false };
  const isLabel = word.toUpperCase() === code || LABEL.test(word);
  return {
    reason: `${code}: ${firstSentence(isLabel ? text.slice(word.length + 1).trim() : text)}`,
    isScript: false,
  };
}

/**
 * Names the two packages of an npm error ERESOLVE: `found react@18.2.0, but react-dom@19.0.0 needs react@"^19.0.0"`.
 * Null if npm does not name both.
 */
function peerConflict(said: readonly string[]): string | null {
  const found = said.map((line) => /^Found: (\S+)/.exec(line)?.[1]).find((one) => one !== undefined);
  // Leave out the lines above `Could not resolve dependency`, in which npm names packages that accept the found
  // version.
  const unresolved = said.slice(
    said.findIndex((line) => line.startsWith('Could not resolve dependency')) + 1,
  );
  const [, peer, by] =
    unresolved.map((line) => /^peer (\S+@"[^"]+") from (\S+)/.exec(line)).find((match) => match !== null) ??
    [];
  return found === undefined || peer === undefined ? null : `found ${found}, but ${by} needs ${peer}`;
}

function firstSentence(text: string): string {
  return text.replace(/\. .*$/, '').replace(/[.:]$/, '');
}
