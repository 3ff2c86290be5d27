import { Worker } from 'node:worker_threads';
import { parseYaml } from './parse-yaml.ts';

/**
 * The keys and values at the top level of a file. If the file is not a YAML mapping, `why` gives the reason as the end
 * of a sentence, for example "is not valid YAML".
 */
export type ReadMapping =
  | { readonly mapping: Record<string, unknown> }
  | { readonly why: string; readonly cause: unknown };

/**
 * The longest text that is parsed without a thread. Even if it is hostile, that takes less time than to start a thread.
 */
const MAX_CHARACTERS_HERE = 1024;

/**
 * Reads a YAML mapping that an untrusted person wrote. An empty text has no keys. A text of more than 1,024 characters
 * is parsed in a thread of its own, because 16 kB of hostile YAML would block the server for 150 ms.
 */
export async function parseMapping(text: string): Promise<ReadMapping> {
  let content: unknown;
  try {
    content = text.length <= MAX_CHARACTERS_HERE ? parseYaml(text) : await parseInThread(text);
  } catch (cause) {
    return { why: 'is not valid YAML', cause };
  }
  if (!isMapping(content)) return { why: 'does not hold lines of `key: value`', cause: null };
  return { mapping: content };
}

async function parseInThread(text: string): Promise<unknown> {
  const worker = new Worker(new URL('./yaml-thread.ts', import.meta.url), { workerData: text });
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', (code) => reject(new Error(`the YAML parser ended with ${code}`)));
  return await promise;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An untrusted value, shortened for a sentence. */
export function shown(value: unknown): string {
  const text = (typeof value === 'string' ? value : asJson(value)).replace(/[^\x20-\x7e]/g, '?');
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/**
 * Returns the value as JSON. If a YAML value contains itself, JSON cannot express it, and the result is words that say
 * so.
 */
function asJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof TypeError) return 'what holds itself';
    throw error;
  }
}
