import { errorDetails } from './error-details.ts';
import { saysUnset } from './unset-variable.ts';

const MAX_LENGTH = 160;
/**
 * At most this many characters of a line are searched. The regular expressions scan the rest of the line at each word,
 * so a long line would take much time.
 */
const MAX_LINE = 1000;

/** Match lines with which programs say why they end: exceptions of several languages, and messages of shells. */
const ERRORS = [
  // Python, Node.js, Java, Ruby, .NET: the name of the exception begins the line.
  /^(?:Uncaught |Caused by: |Exception in thread "[^"]*" )?(?:[\w$]+(?:\.|::))*(?:[A-Z]\w*(?:Error|Exception|Exit|NotFound)|ImproperlyConfigured)(?: \[\w+\])?:/,
  /^Error: \S|^Error \[\w+\]: |^\[cause\]: \S|^node: \S+: not found$/,
  /^(?:PHP )?(?:Fatal error|Parse error): /i,
  /^panic: |^thread '[^']*' .*panicked at|^fatal error: |^Fatal Python error: /,
  // Perl and Ruby: a file or module that cannot be loaded, and a syntax error. Ruby also: any exception that ends the
  // line with its name, such as `(NameError)`.
  /^Can't locate \S+ in @INC|^Error while loading \S+: |^Can't open perl script|cannot load such file -- | \((?:\w+::)*\w*Error\)$|^syntax error at /,
  // A file is missing or cannot be run: messages of shells, Python, env and the dynamic linker.
  /^(?:\/bin\/)?(?:ba|da)?sh: .*(?:not found|No such file or directory|Permission denied|cannot execute)/,
  /: can't open file |^env: .*No such file or directory|^error while loading shared libraries: |: error while loading shared libraries: /,
  // Programs that do not know an option: getopt(3) and uWSGI.
  /^\S+: (?:unrecognized|unknown|invalid) option\b|^\[strict-mode\] unknown config directive: /,
  // lighttpd, if the program of `fastcgi.server` ends. The line begins with the time.
  /\(gw_backend\.c\.\d+\) (?=.*\b(?:failed to start|child exited|terminated by signal)\b)/,
  // Spring Boot, before it explains why it cannot start.
  /^APPLICATION FAILED TO START$/,
  // The loggers of Go, if a line of theirs ends the program.
  /\blevel=(?:fatal|panic)\b|"level":"(?:fatal|panic)"/,
  // Servers that cannot load the program or listen on the port.
  /^Error: class uri |^Failed to (?:find|parse) |^ERROR: +(?:Error loading|\[Errno)|^(?:[\w.-]+: )?error: +\S/i,
];

/**
 * Matches a line that has the name and text of an exception after other words. Indented lines do not match, because
 * they are parts of a longer text.
 */
const EXCEPTION = /^\S(?:.{0,200}[\s:(])?(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?: \S/;

/**
 * Matches a line of Go's package log, which begins with the date and the time. `log.Fatal` prints such a line and then
 * ends the program.
 */
const GO_LOG = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d (?:\S+\.go:\d+: )?(?=\S)/;

/**
 * Returns the last line that begins with an error, with what the lines around it add, in at most 160 characters. If no
 * line begins with an error, returns the last line that has an exception after other words, or else the last line that
 * says that a variable is not set. If there is no such line either, returns the last line of all if Go's package log
 * has printed it. Otherwise null.
 */
export function lastError(lines: readonly string[]): string | null {
  const cut = lines.map((line) => line.slice(0, MAX_LINE).trimEnd());
  const index = indexOfError(cut);
  if (index < 0) return null;
  const text = errorDetails(cut, index)
    .replace(/^(?:\[cause\]|Caused by|[-\d]{10} [:\d]{8}): /, '')
    .replace(GO_LOG, '')
    .replaceAll(/\s+/g, ' ');
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 1)}…`;
}

/** Returns the index of the line that says best why a process ended. -1 if no line does. */
function indexOfError(lines: readonly string[]): number {
  const isError = (line: string): boolean => ERRORS.some((error) => error.test(line.trim()));
  for (const matches of [isError, (line: string) => EXCEPTION.test(line), saysUnset]) {
    const index = lines.findLastIndex(matches);
    if (index >= 0) return index;
  }
  const last = lines.findLastIndex((line) => line !== '');
  return GO_LOG.test(lines[last] ?? '') ? last : -1;
}

/**
 * If at most this many lines of output follow the first line of an error, they may be details of this error: Node.js
 * prints an error with all its properties, which may take many lines. If more lines follow, the error is not the reason
 * why the process ended.
 */
export const MOST_DETAILS = 2000;

/** True if a line begins an error whose details may follow in many lines. */
export function beginsError(line: string): boolean {
  return !line.startsWith(' ') && /Error|Exception/.test(line) && lastError([line]) !== null;
}
