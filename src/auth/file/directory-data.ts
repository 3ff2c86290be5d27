import {
  type Alias,
  type Document,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
  type YAMLMap,
} from 'yaml';
import { z } from 'zod';
import { DeployError } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { type KeyProblem, type PublicKey, readKeyLine } from '../public-key.ts';
import { userName } from '../user-name.ts';
import { type PasswordHash, readPasswordHash } from './password-hash.ts';

export interface UserEntry {
  readonly uid: string;
  readonly password: PasswordHash | null;
  readonly keys: readonly PublicKey[];
  /** For each line of the user's keys that cannot be used, the reason. The user can log in with the other keys. */
  readonly badKeys: readonly KeyProblem[];
  readonly isDisabled: boolean;
}

export interface ToolEntry {
  readonly name: ToolName;
  readonly maintainers: ReadonlySet<string>;
  readonly isDisabled: boolean;
}

/** The content of a directory file. */
export interface DirectoryData {
  readonly users: ReadonlyMap<string, UserEntry>;
  readonly tools: ReadonlyMap<ToolName, ToolEntry>;
}

/** How many YAML aliases a file may have if a command changes the file. */
const MAX_ALIASES = 10_000;

const name = z.string().transform((text, context) => userName(text) ?? refuse(context, 'is not a user name'));
const toolKey = z
  .string()
  .transform((text, context) => toolName(text) ?? refuse(context, 'is not a tool name'));
const password = z
  .string()
  .transform((text, context) => readPasswordHash(text) ?? refuse(context, 'is not scrypt$N$r$p$salt$hash'));
const user = z
  .strictObject({
    password: password.nullish(),
    keys: z.array(z.unknown()).nullish(),
    disabled: z.boolean().nullish(),
  })
  .nullable();
const tool = z
  .strictObject({ maintainers: z.array(name).nullish(), disabled: z.boolean().nullish() })
  .nullable();
const shape = z
  .strictObject({ users: z.map(name, user).nullish(), tools: z.map(toolKey, tool).nullish() })
  .nullable();

/** The last text that was parsed. A start, a login and a change often read the same text, and parsing takes long. */
let last: { readonly text: string; readonly data: DirectoryData } | null = null;

/**
 * Reads the text of a directory file.
 *
 * @throws DeployError `DIRECTORY_BROKEN` if the text has an error. The message names the line and the error.
 */
export function readDirectoryText(text: string): DirectoryData {
  if (last?.text !== text) last = { text, data: parseText(text) };
  return last.data;
}

function parseText(text: string): DirectoryData {
  const lines = new LineCounter();
  const document = parseDirectory(text, lines);
  const result = shape.safeParse(plainOrBroken(document));
  if (!result.success) {
    const issue = result.error.issues[0];
    const path = (issue?.path ?? []).map(String);
    throw broken(lineOf(document, lines, path), `${path.join(' → ')} ${issue?.message ?? ''}`.trim());
  }
  const users = new Map<string, UserEntry>();
  for (const [uid, entry] of result.data?.users ?? []) users.set(uid, userEntry(uid, entry));
  const tools = new Map<ToolName, ToolEntry>();
  for (const [key, entry] of result.data?.tools ?? []) {
    tools.set(key, {
      name: key,
      maintainers: new Set(entry?.maintainers ?? []),
      isDisabled: entry?.disabled ?? false,
    });
  }
  return { users, tools };
}

/**
 * Reads the text as a YAML document that keeps its comments.
 *
 * @throws DeployError `DIRECTORY_BROKEN` if the text is not YAML, has an alias without an anchor before it, or lists a
 * user twice.
 */
export function parseDirectory(text: string, lines = new LineCounter()): Document {
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const error = document.errors[0];
  // Take only the first line of the message, because later lines may quote the file, and with it a password's hash.
  if (error !== undefined) throw broken(lines.linePos(error.pos[0]).line, error.message.split('\n')[0] ?? '');
  visit(document, {
    // Keep a name as it was written, because YAML reads `007` as the number 7.
    Scalar: (key, node) => {
      if (key !== 'value' && typeof node.value !== 'string' && node.source !== undefined)
        node.value = node.source;
    },
    Alias: (_key, alias) => {
      if (alias.resolve(document) === undefined)
        throw broken(keyLine(alias, lines), `there is no &${alias.source} before *${alias.source}`);
    },
  });
  const users = document.get('users');
  const seen = new Set<string>();
  for (const { key } of isMap(users) ? users.items : []) {
    const uid = userName(String(isScalar(key) ? key.value : key));
    if (uid !== null && seen.has(uid)) throw broken(keyLine(key, lines), `the user ${uid} is listed twice`);
    if (uid !== null) seen.add(uid);
  }
  return document;
}

function userEntry(uid: string, entry: z.output<typeof user>): UserEntry {
  const read = (entry?.keys ?? []).map((line) => readKeyLine(typeof line === 'string' ? line : ''));
  return {
    uid,
    password: entry?.password ?? null,
    keys: read.filter((key) => typeof key !== 'string'),
    badKeys: read.filter((key) => typeof key === 'string'),
    isDisabled: entry?.disabled ?? false,
  };
}

/** Replaces every alias by a copy of its target, so that a change of one entry does not change another. */
export function withoutAliases(document: Document): Document {
  let left = MAX_ALIASES;
  visit(document, {
    Alias: (_key, alias: Alias) => {
      left -= 1;
      if (left < 0) throw broken(1, `there are more than ${MAX_ALIASES} aliases`);
      return alias.resolve(document)?.clone() as Alias;
    },
  });
  visit(document, {
    Node: (_key, node) => {
      if ('anchor' in node) delete node.anchor;
    },
  });
  return document;
}

function plainOrBroken(document: Document): unknown {
  try {
    return asPlain(document);
  } catch (error) {
    if (error instanceof ReferenceError) throw broken(1, error.message);
    throw error;
  }
}

/**
 * Returns the document as plain values. The tables `users` and `tools` become Maps, so that a name such as `__proto__`
 * has no special meaning.
 */
function asPlain(document: Document): unknown {
  const top = document.contents;
  if (!isMap(top)) return document.toJS();
  const table = (value: unknown) => {
    if (!isMap(value)) return isNode(value) ? value.toJS(document) : value;
    const entries = value.items.map((item): [string, unknown] => [
      String(isScalar(item.key) ? item.key.value : item.key),
      isNode(item.value) ? item.value.toJS(document) : item.value,
    ]);
    return new Map(entries);
  };
  return Object.fromEntries((top as YAMLMap).items.map((item) => [String(item.key), table(item.value)]));
}

/**
 * Returns the line of the entry to which the YAML keys in `path` lead. If this entry is missing, returns the line of
 * the nearest entry above.
 */
function lineOf(document: Document, lines: LineCounter, path: readonly string[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const parent = document.getIn(path.slice(0, length - 1), true);
    const pair = isMap(parent)
      ? parent.items.find((item) => String(item.key) === path[length - 1])
      : undefined;
    if (pair !== undefined) return keyLine(pair.key, lines);
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

function keyLine(key: unknown, lines: LineCounter): number {
  return isNode(key) && key.range ? lines.linePos(key.range[0]).line : 1;
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}

function broken(line: number, problem: string): DeployError {
  return new DeployError(
    'DIRECTORY_BROKEN',
    `the directory file has an error in line ${line}: ${problem}`,
    'Correct this line of directory.yaml, or undo the last change to the file.',
    { cause: { line } },
  );
}
