import { stripVTControlCharacters } from 'node:util';
import { Chalk } from 'chalk';

/**
 * Tells somebody how their work goes on: a person who pushes, or an operator who makes a stack. Each call prints one or
 * more whole lines.
 */
export interface Progress {
  /** Says that a step begins: `-----> Building`. */
  step(text: string): void;
  /** Prints a detail, or a line of the output of a build, after seven spaces. */
  line(text: string): void;
  /** Prints a warning or a refusal, after the prefix ` !     `. */
  warn(text: string): void;
  /** Says how the work ended: `=====> v42 is live at …`. */
  result(text: string): void;
}

const PREFIX = { step: '-----> ', line: '       ', warn: ' !     ', result: '=====> ' } as const;

/** Returns a Progress that passes its text to `write` after `clean` has made it harmless. Every line ends in `\n`. */
export function progressTo(write: (text: string) => void): Progress {
  const say = (kind: keyof typeof PREFIX) => (text: string) => write(prefixed(PREFIX[kind], text));
  return { step: say('step'), line: say('line'), warn: say('warn'), result: say('result') };
}

function prefixed(prefix: string, text: string): string {
  const lines = clean(text).split('\n');
  return (
    lines.map((line, index) => `${index === 0 ? prefix : continued(prefix)}${line}`.trimEnd()).join('\n') +
    '\n'
  );
}

/**
 * Returns the prefix for the second and all later lines of a text whose first line has `prefix`. The later lines of a
 * warning get the prefix of a warning too. Those of a step or a result get the prefix of a detail.
 */
function continued(prefix: string): string {
  return prefix === PREFIX.warn ? PREFIX.warn : PREFIX.line;
}

// Matches an escape sequence that sets the colour or weight of text (SGR): ECMA-48 section 8.3.117. An untrusted log
// may send no other sequence to a terminal.
const SGR = /\u001b\[[0-9;]{0,32}m/g;
// Matches control characters: C0 without tab and line feed, DEL, and C1.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
// Matches a control string (OSC, DCS, SOS, PM, APC), which ends at BEL or ST. If neither follows, the string ends at
// the end of the line, because to search from each beginning to the end of the text would be slow. If another control
// string begins inside a control string, only the inner one matches.
const STRINGS =
  /(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c\n\u0090\u0098\u009d-\u009f]*(?:\u0007|\u001b\\|\u009c|(?=\n)|$)/g;

// Matches the escape character of each `ESC ]` that is left after all control strings (STRINGS) were removed, because
// another sequence interrupts the string. For each of them, stripVTControlCharacters would search the whole rest of the
// text for the end of the string. An untrusted program can print many of them.
const OPENINGS = /\u001b(?=\])/g;
const RETURNS = /\r+\n?/g;

/**
 * Makes text harmless for a terminal. Removes all control sequences except colours (SGR). Turns a carriage return into
 * a new line, and switches a colour off at the end of its line.
 */
export function clean(text: string): string {
  const lines = text.replace(RETURNS, asNewLines).replace(STRINGS, '').replace(OPENINGS, '').split('\n');
  return lines.map(cleanLine).join('\n');
}

function asNewLines(returns: string): string {
  return returns.endsWith('\n') ? '\n' : '\n'.repeat(returns.length);
}

function cleanLine(line: string): string {
  const colours = line.match(SGR);
  if (colours === null) return stripVTControlCharacters(line).replace(CONTROLS, '');
  const plain = line.split(SGR).map((part) => stripVTControlCharacters(part).replace(CONTROLS, ''));
  const last = colours.at(-1) ?? '';
  const isOff = /^\u001b\[0?m$/.test(last);
  return plain.map((part, index) => part + (colours[index] ?? '')).join('') + (isOff ? '' : '\u001b[0m');
}

const chalk = new Chalk({ level: 1 });

/** Prepares stored text of whole lines for a client: colours each line by its prefix, or removes all colours. */
export function paint(text: string, isColoured: boolean): string {
  if (!isColoured) return stripVTControlCharacters(text);
  return text.split('\n').map(paintLine).join('\n');
}

function paintLine(line: string): string {
  if (line.startsWith(PREFIX.step)) return chalk.cyan(line);
  if (line.startsWith(PREFIX.result)) return chalk.green.bold(line);
  if (line.startsWith(PREFIX.warn)) return chalk.yellow(line);
  return line;
}

// Matches characters that change the order in which the rest of a line is shown (Unicode Standard Annex 9).
const DIRECTIONS = /[\u202a-\u202e\u2066-\u2069]/g;

/** Makes an untrusted text safe for a terminal and for one line. */
export function oneLine(text: string): string {
  return paint(clean(text), false).replace(DIRECTIONS, '').replace(/\s+/g, ' ').trim();
}
