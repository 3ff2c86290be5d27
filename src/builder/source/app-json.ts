import { z } from 'zod';
import { DeployError } from '../../core/errors.ts';
import type { Replicas } from '../../core/types.ts';
import { readPlainFile } from './safe-files.ts';
import { shown } from './yaml/settings-file.ts';

const file = 'app.json';
const MAX_BYTES = 256 * 1024;
const MAX_QUANTITY = 1000;
const quantity = z.int().min(0).max(MAX_QUANTITY);
const manifest = z.looseObject({ formation: z.record(z.string(), z.unknown()).optional() });
const entry = z.looseObject({ quantity: quantity.default(1) });

export interface AppJson {
  /** How many processes of each type run, by `formation`. */
  readonly formation: Replicas;
  /** A sentence for each part that is not used. */
  readonly warnings: readonly string[];
}

/**
 * Reads `formation` of Heroku's app.json. Other programs have files of this name too, so the file may hold anything
 * else.
 *
 * @throws DeployError `BUILD_APP_JSON` if `formation` cannot be used.
 * @see https://devcenter.heroku.com/articles/app-json-schema#formation
 */
export async function readAppJson(source: string): Promise<AppJson> {
  const nothing = { formation: {}, warnings: [] };
  const text = await readPlainFile(source, [file], MAX_BYTES).catch((error: unknown) => {
    if (error instanceof RangeError) return '{}';
    throw error;
  });
  if (text === null) return nothing;
  let content: unknown;
  try {
    content = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    const [, line] = /line (\d+)/.exec(String(error)) ?? [];
    const where = line === undefined ? '' : ` (see line ${line})`;
    return { ...nothing, warnings: [`${file} is not used, because it is not valid JSON${where}.`] };
  }
  const { success, data } = manifest.safeParse(content);
  if (!success || data.formation === undefined) return nothing;
  const entries = Object.entries(data.formation).map(
    ([type, value]) => [type, read(type, value, text)] as const,
  );
  const unused = new Set(entries.flatMap(([, one]) => Object.keys(one).filter((key) => key !== 'quantity')));
  const keys = [...unused].slice(0, 10).map(shown).join(', ');
  return {
    formation: Object.fromEntries(entries.map(([type, one]) => [type, one.quantity])),
    warnings:
      unused.size === 0 ? [] : [`formation in ${file}: only quantity has an effect here, not ${keys}.`],
  };
}

function read(type: string, value: unknown, text: string): z.infer<typeof entry> {
  const { success, data } = entry.safeParse(value);
  if (success) return data;
  const place = text.indexOf(JSON.stringify(type), text.indexOf('"formation"'));
  const line = text.slice(0, place).split('\n').length;
  throw new DeployError(
    'BUILD_APP_JSON',
    `formation in ${file} gives no number of processes for ${shown(type)} (line ${line})`,
    `Write \`"${shown(type)}": {"quantity": 1}\`, with a whole number from 0 to ${MAX_QUANTITY}, and push again.`,
  );
}
