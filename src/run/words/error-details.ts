/** How many lines above a syntax error are searched for the file and line of the tool that have the error. */
const MOST_ABOVE = 10;
/** How many lines below an error are searched for its details. */
const MOST_BELOW = 200;
/** The text of an error names at most this many settings. */
const MAX_NAMED = 5;
const SYNTAX = /^(?:SyntaxError|IndentationError|TabError): /;
/** Matches the line in which Python or Node.js names a place in a file of the tool. */
const PLACE =
  /^\s*File "(?:\/workspace\/)?([^"/<][^"<]*)", line (\d+)|^(?:file:\/\/)?\/workspace\/([^:]+):(\d+)$/;
/** Matches what Spring Boot prints before it explains in two paragraphs why it cannot start. */
const SPRING = /^APPLICATION FAILED TO START$/;

/**
 * The text of an error, with what the lines around it add: the place of an error of syntax, the names of settings that
 * do not fit, or the next line if the error ends with a colon.
 *
 * @param lines - The lines of the output, each cut to a length that can be searched.
 * @param index - The index of the line with the error.
 */
export function errorDetails(lines: readonly string[], index: number): string {
  const text = (lines[index] ?? '').trim();
  const below = lines.slice(index + 1, index + 1 + MOST_BELOW);
  if (SYNTAX.test(text)) return `${placeAbove(lines.slice(Math.max(0, index - MOST_ABOVE), index))}${text}`;
  if (SPRING.test(text))
    return below.slice(below.indexOf('Description:') + 1).find((line) => line !== '') ?? text;
  if (/^ZodError: \[$/.test(text)) return `ZodError: ${zodIssues(below.join('\n'))}`;
  const [, settings] = /(?:^|\.)(ValidationError: \d+ validation errors? for \S+)$/.exec(text) ?? [];
  if (settings !== undefined) return `${settings}${pydanticErrors(below)}`;
  const next = below.find((line) => /[\p{L}\p{N}]/u.test(line))?.trim() ?? '';
  return text.endsWith(':') && next !== '' && !/^at /.test(next) ? `${text} ${next}` : text;
}

/**
 * Returns the last place in the tool's files that these lines name: `app.py line 5: `. Empty if no line names a place.
 */
function placeAbove(lines: readonly string[]): string {
  const [, python, pythonLine, node, nodeLine] =
    PLACE.exec(lines.findLast((line) => PLACE.test(line)) ?? '') ?? [];
  const file = python ?? node;
  return file === undefined ? '' : `${file} line ${pythonLine ?? nodeLine}: `;
}

/**
 * Returns the names of the settings that Zod complains about, and the first complaint. `json` is the output below a
 * ZodError: JSON, or properties as Node.js prints them.
 */
function zodIssues(json: string): string {
  const names = [...json.matchAll(/\bpath"?: \[\s*["'](\w{1,100})["']/g)].map((match) => match[1] ?? '');
  const message = /\bmessage"?: ["']([^"'\n]+)["']/.exec(json)?.[1];
  return [listed(names), message].filter((part) => part !== undefined && part !== '').join(': ');
}

/**
 * Returns the fields that Pydantic complains about, and the first complaint. `below` has the lines below a
 * ValidationError.
 */
function pydanticErrors(below: readonly string[]): string {
  const end = below.findIndex((line) => !/^\s|^[A-Za-z_][\w.]*$/.test(line));
  const lines = end < 0 ? below : below.slice(0, end);
  const names = lines.filter((line) => /^\w/.test(line));
  const message = lines
    .map((line) => /^\s+(.+?) \[type=/.exec(line)?.[1])
    .find((found) => found !== undefined);
  if (names.length === 0) return '';
  return `: ${listed(names)}${message === undefined ? '' : `: ${message}`}`;
}

function listed(names: readonly string[]): string {
  const some = [...new Set(names)].slice(0, MAX_NAMED);
  return some.join(', ');
}
