import { stripVTControlCharacters } from 'node:util';
import { Chalk } from 'chalk';

/** Speaks to the person who pushes. Each call is one or more whole lines. */
export interface Progress {
  /** `-----> Building` */
  step(text: string): void;
  /** Seven spaces before it: detail, or what a build prints. */
  line(text: string): void;
  /** ` !     ` before it. */
  warn(text: string): void;
  /** `=====> v42 is live at …` */
  result(text: string): void;
}

const PREFIX = { step: '-----> ', line: '       ', warn: ' !     ', result: '=====> ' } as const;

/** A Progress that hands finished, clean text (every line ends in `\n`) to `write`. */
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

/** The lines after the first of a step or result are detail; those of a warning stay a warning. */
function continued(prefix: string): string {
  return prefix === PREFIX.warn ? PREFIX.warn : PREFIX.line;
}

// ECMA-48 section 8.3.117: colours and weights, the only sequences that a stranger's log may send to a terminal.
const SGR = /\u001b\[[0-9;]{0,32}m/g;
// C0 without tab and line feed, DEL, and C1.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
// A string sequence (OSC, DCS, SOS, PM, APC) runs to BEL or ST; one that is cut off runs to the end of the line.
const STRINGS =
  /(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c|(?=\n)|$)/g;

// Of a string that another sequence breaks off: stripVTControlCharacters would look for its end in all that follows,
// once for each, and a stranger can print many.
const OPENINGS = /\u001b(?=\])/g;
const RETURNS = /\r+\n?/g;

/**
 * Text that cannot drive a terminal: of all control sequences only colours (SGR) are left, a carriage
 * return becomes a new line, and a colour that is still on at the end of a line is switched off.
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

/** Stored text, one or more whole lines, as a client gets it: in colour by its prefixes, or without any colour. */
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
