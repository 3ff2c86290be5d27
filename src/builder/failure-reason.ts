/**
 * The reason of a failed step is searched in this many of its last lines. npm prints 30 lines after the first line of
 * its error.
 */
const KEPT_LINES = 40;

/** Keeps the last 40 lines of a step's output. Secrets in the lines must be masked already. */
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
const REFUSAL = /^ !\s+/;
const CAUSE = /^\s*(?:[├╰]─▶|cause:)\s*/i;
const HAS_WORDS = /[\p{L}\p{N}]/u;
/** Lines that name the error, as the tools of each language print them. */
const ERRORS = [
  // uv, cargo, git, pip, yarn 1: the line begins with `error` or `fatal`.
  /^(error|fatal)\b(?!.*\bduring build:$)/i,
  // pnpm and yarn 2: the line begins with an error code.
  /^ERR_[A-Z_]+\b|^➤ YN0{0,3}[1-9]\d*: .*(error|forbidden|failed|couldn't|can't|not found|unable)/i,
  // Maven and Gradle.
  /^\[ERROR\] |^\* What went wrong:|^FAILURE: /,
  // TypeScript, Go and C compilers: the line begins with the place in the file.
  /^\S+?[:(]\d+[,:]\d+\)?:? .*\b(error|undefined|cannot|not|missing|imported)\b/,
  // Exceptions of JavaScript, Python, Ruby and Java.
  /^(Uncaught )?([\w.]+\.)?[A-Z]\w*(Error|Exception)\b(?: \[\w+\])?:/,
];
const NPM = /^npm (?:error|ERR!)\s*(.*)$/;
/** Matches lines in which npm describes the context of an error, not the error. */
const NPM_FACT = /^(code|errno|syscall|path|dest|command|signal|workspace|location|in workspace|at )\b/;
/** npm may begin an error with a label: one of these words, or its error code in lower case. */
const LABEL = /^(notarget|network)$/;

/**
 * Why a step failed, in one line of at most 160 characters, taken from the last lines of its output. Null if no line
 * with words is short enough.
 *
 * If the last line begins with ` ! `, the buildpack itself says why it failed, and that line is the reason. An earlier
 * line with ` ! ` was only a warning. Otherwise the reason is the error that a known program printed, with its last
 * cause. Without such an error, it is the last line that has words.
 */
export function failureReason(lines: readonly string[]): string | null {
  return candidates(lines).find((text) => text !== '' && text.length <= MAX_LENGTH) ?? null;
}

function candidates(lines: readonly string[]): string[] {
  const telling = lines.map((line) => line.trimEnd()).filter((line) => HAS_WORDS.test(line));
  const last = telling.at(-1) ?? '';
  if (REFUSAL.test(last)) return [last.replace(REFUSAL, '').trim()];
  const others = telling.filter((line) => !NPM.test(line.trim()));
  const npm = npmReason(telling);
  const index = others.findLastIndex((line) => ERRORS.some((error) => error.test(line.trim())));
  const error = index < 0 ? null : (others[index] ?? '').trim();
  if (npm !== null) {
    // npm names only the script that failed. The output of the script says why.
    return npm.isScript && error !== null ? [error, npm.reason] : [npm.reason];
  }
  if (error === null) return [last.trim()];
  const cause = others.slice(index + 1).findLast((line) => CAUSE.test(line));
  if (cause === undefined) return [error];
  const causeText = cause.replace(CAUSE, '').trim();
  return [`${error.replace(/:$/, '')}: ${causeText}`, causeText, error];
}

/** The code and the first sentence of an npm error, for instance `ERESOLVE: unable to resolve dependency tree`. */
function npmReason(lines: readonly string[]): { reason: string; isScript: boolean } | null {
  const said = lines.flatMap((line) => NPM.exec(line.trim())?.[1]?.trim() || []);
  const code = said.map((line) => /^code (\S+)$/.exec(line)?.[1]).find((found) => found !== undefined);
  if (code === undefined)
    return said[0] === undefined ? null : { reason: firstSentence(said[0]), isScript: false };
  // If a script failed, npm prints the script's exit status instead of an error code.
  if (/^(\d+|ELIFECYCLE)$/.test(code)) {
    const command = said
      .map((line) => /^command (?!failed$)(.+)$/.exec(line)?.[1])
      .find((found) => found !== undefined);
    return { reason: `${command ?? 'a script'} failed with ${code}`, isScript: true };
  }
  const text = said.find((line) => !NPM_FACT.test(line));
  if (text === undefined) return { reason: code, isScript: false };
  const [word = ''] = text.split(/[ :]/, 1);
  const isLabel = word.toUpperCase() === code || LABEL.test(word);
  return {
    reason: `${code}: ${firstSentence(isLabel ? text.slice(word.length + 1).trim() : text)}`,
    isScript: false,
  };
}

function firstSentence(text: string): string {
  return text.replace(/\. .*$/, '').replace(/[.:]$/, '');
}
