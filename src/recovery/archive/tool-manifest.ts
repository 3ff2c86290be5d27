import { z } from 'zod';
import {
  CONFIG_VAR_NAME,
  type CommitId,
  commitId,
  MAX_CONFIG_VARS,
  type ToolName,
  toolName,
} from '../../core/names.ts';
import { isRefName } from '../../git/push/ref-policy.ts';

/** The version of the format of exported files. */
export const FORMAT = 1;
/** The most releases in an exported file: the newest ones, and always the live one. */
export const MAX_RELEASES = 1000;
/**
 * The most bytes of the manifest: a thousand releases, ten thousand tags, and ten thousand ends of shallow histories.
 */
export const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
const MAX_REFS = 10_000;
/**
 * The most commas, brackets and braces of a manifest. A manifest with the longest lists that are allowed has half as
 * many.
 */
const MAX_PARTS = 150_000;
/** The most process types that can have a number in `replicas`, a size or a pause. */
const MAX_TYPES = 1000;
/**
 * The highest version of a release in an exported file. The refs of releases can have higher versions (`versionOf`), so
 * there is room for the later releases of an imported tool.
 */
const MAX_VERSION = 99_999_999;
const [MAX_WORDS, LATEST] = [2000, Date.UTC(2200)];

/** A text that a terminal or a list may show, so it has no control characters. */
const words = z
  .string()
  .max(MAX_WORDS)
  .refine((text) => !/\p{Cc}/u.test(text));
const at = z.int().min(0).max(LATEST);
const commit = z.custom<CommitId>(
  (value) => typeof value === 'string' && value.length === 40 && commitId(value) !== null,
);
const type = z.string().regex(/^[a-z0-9][-_a-z0-9]{0,62}$/);
const isShort = (record: object): boolean => Object.keys(record).length <= MAX_TYPES;
const varName = z.string().regex(CONFIG_VAR_NAME);
const limit = z
  .int()
  .min(1)
  .max(2 ** 50)
  .exactOptional();

const releaseOf = z.strictObject({
  version: z.int().min(1).max(MAX_VERSION),
  isFailed: z.boolean(),
  commit,
  description: words,
  by: words,
  credential: words,
  createdAt: at,
  deployment: z.strictObject({
    kind: z.enum(['push', 'redeploy', 'rollback', 'config', 'restart', 'scale', 'promote']),
    door: z.enum(['ssh', 'http', 'local']),
    message: words.nullable(),
    reason: words.nullable(),
    createdAt: at,
    startedAt: at.nullable(),
    endedAt: at.nullable(),
  }),
});

/**
 * The file `manifest.json` in the archive of an exported tool: what the archive says about the tool, except secrets and
 * the objects of git, which have files of their own.
 */
export const manifestOf = z.strictObject({
  format: z.literal(FORMAT),
  tool: z.custom<ToolName>((value) => typeof value === 'string' && toolName(value) !== null),
  madeAt: at,
  /** The version of the release that was live at the export. Null if none was. */
  live: z.int().nullable(),
  /** The releases, in ascending order of their versions. */
  releases: z
    .array(releaseOf)
    .max(MAX_RELEASES)
    .refine((all) => all.every(({ version }, index) => version > (all[index - 1]?.version ?? 0))),
  /** The tags, each with the id of its object. */
  tags: z
    .array(
      z.strictObject({ ref: z.string().max(255).startsWith('refs/tags/').refine(isRefName), id: commit }),
    )
    .max(MAX_REFS),
  /** The commits at which the history ends, because a push from a shallow clone has cut it off. */
  shallow: z.array(commit).max(MAX_REFS),
  /** The size and checksum of `repository.pack`, the objects of git. Null if the file has no such part. */
  pack: z.strictObject({ bytes: z.int().min(1), sha256: z.string().regex(/^[0-9a-f]{64}$/) }).nullable(),
  replicas: z.record(type, z.int().min(0).max(1000)).refine(isShort),
  sizes: z
    .record(
      type,
      z.strictObject({ memoryBytes: limit, cpuCores: z.number().positive().max(1024).exactOptional() }),
    )
    .refine(isShort),
  paused: z.array(type).max(MAX_TYPES),
  limits: z.strictObject({ memory: limit, builds: limit, replicas: limit, repository: limit }),
  sharedConfig: z.array(varName).max(MAX_CONFIG_VARS),
  isStopped: z.boolean(),
  isInMaintenance: z.boolean(),
});

export type ToolManifest = Readonly<z.infer<typeof manifestOf>>;

/** The text that `secrets.sealed` encrypts: the config vars that the tool's next release gets. */
export const secretsOf = z.strictObject({
  // Count the config vars before anything checks each of them, because to check a million would keep the server busy
  // for seconds. This count lets a few too many pass: later, `changeConfigVars` refuses these with a better message,
  // which names the limit.
  configVars: z
    .unknown()
    .refine((all) => all instanceof Object && Object.keys(all).length <= 10 * MAX_CONFIG_VARS)
    .pipe(z.record(varName, z.string())),
});

/** Reads a manifest. Returns `newer` if a later version of this server wrote it, null if the text is not a manifest. */
export function readManifest(text: string): ToolManifest | 'newer' | null {
  if (!hasFewParts(text)) return null;
  const json = parsed(text);
  const head = z.object({ format: z.int() }).safeParse(json);
  if (head.success && head.data.format > FORMAT) return 'newer';
  return manifestOf.safeParse(json).data ?? null;
}

/** False for a hostile JSON text with so many values that to parse it would keep the server busy for seconds. */
function hasFewParts(text: string): boolean {
  let parts = 0;
  for (let at = 0; at < text.length; at += 1) if (PARTS.has(text.charCodeAt(at))) parts += 1;
  return parts <= MAX_PARTS;
}

const PARTS = new Set([...',[{'].map((character) => character.charCodeAt(0)));

/** The value of a JSON text. Undefined if the text is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
