import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const sources = globSync('src/**/*.ts', { cwd: root }).map((path) => ({
  path,
  text: readFileSync(join(root, path), 'utf8'),
}));

/** Names that begin with a capital letter wherever they stand. */
const PROPER_NAMES = ['Harbor'];
/** Matches a message that begins with the name of a tool or person, to which `sentence` would give a capital letter. */
const BARE_NAME = /^\$\{[\w.]*(tool|uid|holder)\}/;

/** A place of a message, and the string literals that it may consist of. */
interface Message {
  readonly place: string;
  readonly literals: readonly string[];
}

/** A call that makes a DeployError, and the index of its argument with the message. */
interface Maker {
  readonly name: string;
  readonly index: number;
  /** The only file in which calls of this name count; null if they count in every file. */
  readonly path: string | null;
}

test('no message of a DeployError begins with a capitalized word, except a proper name, or ends with a full stop', () => {
  const wrong = messages().flatMap(({ place, literals }) =>
    literals.filter((literal) => !isFragment(literal)).map((literal) => `${place}: ${literal}`),
  );
  assert.deepEqual(wrong, []);
});

test('no message of a DeployError begins with the bare name of a tool or person', () => {
  const wrong = messages().flatMap(({ place, literals }) =>
    literals.filter((literal) => BARE_NAME.test(literal)).map((literal) => `${place}: ${literal}`),
  );
  assert.deepEqual(wrong, []);
});

test('the search for messages of DeployErrors finds more than 200 messages, also messages that the code passes to a function that makes the error', () => {
  const found = messages().flatMap(({ literals }) => literals);
  assert.ok(found.length > 200, `only ${found.length} messages`);
  for (const known of ['the store is damaged or is not a store', 'the setting ldap_servers is empty'])
    assert.ok(found.includes(known), known);
});

function isFragment(literal: string): boolean {
  const capital = /^[A-Z][a-z]*(?![\w/-])/.exec(literal)?.[0];
  return (capital === undefined || PROPER_NAMES.includes(capital)) && !/[^.]\.$/.test(literal);
}

function messages(): Message[] {
  const makers = [
    { name: 'new DeployError', index: 1, path: null },
    { name: 'new LeftUndone', index: 1, path: null },
    // A finding that refuses the start becomes a DeployError.
    { name: 'refuses', index: 0, path: 'src/recovery/examine.ts' },
    ...sources.flatMap(({ path, text }) => makersIn(path, text)),
  ];
  return sources.flatMap(({ path, text }) =>
    makers
      .filter((maker) => maker.path === null || maker.path === path)
      .flatMap((maker) => messagesOf(maker, path, text)),
  );
}

/** Functions that pass one of their parameters on as the message. */
function makersIn(path: string, text: string): Maker[] {
  const functions = text.matchAll(/(export )?function (\w+)\(([^)]*)\): DeployError \{([\s\S]*?)\n\}/g);
  return [...functions].flatMap(([, exported, name = '', parameters = '', body = '']) => {
    const at = body.indexOf('new DeployError(');
    const message = at === -1 ? '' : (argumentsAt(body, at + 'new DeployError('.length)[1] ?? '');
    const index = parameters.split(',').findIndex((one) => one.trim().startsWith(`${message}:`));
    return message === '' || index === -1
      ? []
      : [{ name, index, path: exported === undefined ? path : null }];
  });
}

function messagesOf({ name, index }: Maker, path: string, text: string): Message[] {
  return [...text.matchAll(new RegExp(`(?<!function |[\\w.])${name}\\(`, 'g'))].map((call) => {
    const given = argumentsAt(text, call.index + call[0].length)[index] ?? '';
    const line = text.slice(0, call.index).split('\n').length;
    return { place: `${path}:${line}`, literals: literalsIn(expressionOf(given, text.slice(0, call.index))) };
  });
}

/** If the argument is a variable, what the code before the call last assigned to it; otherwise the argument itself. */
function expressionOf(given: string, before: string): string {
  if (!/^\w+$/.test(given)) return given;
  const assignment = `const ${given} =`;
  const at = before.lastIndexOf(assignment);
  return at === -1 ? '' : before.slice(at + assignment.length, endOf(before, at, ';'));
}

/** The arguments of a call whose opening bracket is before `start`. */
function argumentsAt(text: string, start: number): string[] {
  const found: string[] = [];
  for (let from = start; ; ) {
    const end = endOf(text, from, ',');
    found.push(text.slice(from, end).trim());
    if (text[end] !== ',') return found;
    from = end + 1;
  }
}

/** The string literals of an expression, without those inside of other literals. */
function literalsIn(expression: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < expression.length; at += 1) {
    if (!isQuote(expression[at])) continue;
    const end = afterLiteral(expression, at);
    found.push(expression.slice(at + 1, end - 1));
    at = end - 1;
  }
  return found;
}

/** The index of the next `stop` outside of brackets and literals. If an outer bracket closes first, its index. */
function endOf(text: string, start: number, stop: string): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const letter = text[at] ?? '';
    if (isQuote(letter)) at = afterLiteral(text, at) - 1;
    else if (text.startsWith('//', at)) at = text.indexOf('\n', at);
    else if (depth === 0 && (letter === stop || ')]}'.includes(letter))) return at;
    else if ('([{'.includes(letter)) depth += 1;
    else if (')]}'.includes(letter)) depth -= 1;
  }
  return text.length;
}

function afterLiteral(text: string, start: number): number {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (quote === '`' && text.startsWith('${', at)) at = endOf(text, at + 2, '}');
    else if (text[at] === quote) return at + 1;
  }
  return text.length;
}

function isQuote(letter: string | undefined): boolean {
  return letter === "'" || letter === '"' || letter === '`';
}
