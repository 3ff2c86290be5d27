import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import { DeployError, systemCode } from '../../core/errors.ts';
import { isPlainFolder, MAX_TOML_BYTES, readPlainFile } from '../source/safe-files.ts';

/** The versions of the Buildpack API that a buildpack.toml may name. */
export const buildpackApi = z
  .string('its version of the Buildpack API is missing: api = "0.11"')
  .regex(/^0\.(8|9|10|11|12)$/, 'the Buildpack API must be 0.8 to 0.12, such as api = "0.11"');

/** Ids that no buildpack may have: see "buildpack ID" in buildpack.md of the specification. */
const RESERVED: ReadonlySet<string> = new Set([
  'app',
  'build',
  'config',
  'generated',
  'launch',
  'sbom',
  'store',
]);

const file = z.object({
  api: buildpackApi,
  buildpack: z.object(
    {
      id: z
        .string('the id of the buildpack is missing: id = "example/lua"')
        .regex(
          /^[A-Za-z0-9][-A-Za-z0-9./]{0,99}$/,
          'an id may have letters, digits, hyphens, dots and slashes',
        )
        .refine((id) => !RESERVED.has(id), 'this id is reserved'),
      version: z
        .string('the version of the buildpack is missing, as a text: version = "0.1.0"')
        .regex(/^[0-9][-+.A-Za-z0-9]{0,39}$/, 'a version must begin with a digit, such as 0.1.0'),
      'clear-env': z.boolean('clear-env must be true or false').default(false),
    },
    'the table [buildpack] with id and version is missing',
  ),
  order: z.never('a buildpack that is made of other buildpacks ([[order]]) cannot be used here').optional(),
});

/** The facts about a buildpack that are in the files of its folder. */
export interface DescribedBuildpack {
  readonly id: string;
  readonly version: string;
  readonly isEnvCleared: boolean;
}

/**
 * Reads the buildpack in a folder that anybody may have made. Checks that `bin/detect` and `bin/build` are executable
 * files. Follows no symbolic link below `root`: if one of these programs is a link, its target is not checked.
 *
 * @param parts - The path of the buildpack's folder below `root`.
 * @param shown - The path of the buildpack's folder as messages show it.
 * @throws DeployError `BAD_BUILDPACK` that names the file and what to do.
 */
export async function readBuildpackFolder(
  root: string,
  parts: readonly string[],
  shown: string,
): Promise<DescribedBuildpack> {
  if (!(await isPlainFolder(root, parts)))
    throw bad(`there is no folder ${shown}, or a part of this path is a symbolic link`, HINT.path);
  const about = await readDescription(root, parts, shown);
  for (const program of ['bin/detect', 'bin/build']) await assertProgram(root, parts, { shown, program });
  const { id, version, 'clear-env': isEnvCleared } = about.buildpack;
  return { id, version, isEnvCleared };
}

const HINT = {
  path: 'Name the folder that holds buildpack.toml, bin/detect and bin/build.',
  file: 'docs/writing-a-buildpack.md shows a whole buildpack.',
};

async function readDescription(root: string, parts: readonly string[], shown: string) {
  const path = join(shown, 'buildpack.toml');
  const text = await readPlainFile(root, [...parts, 'buildpack.toml'], MAX_TOML_BYTES).catch(
    (error: unknown) => {
      throw error instanceof RangeError
        ? bad(`${path} is larger than ${MAX_TOML_BYTES} bytes`, HINT.file)
        : error;
    },
  );
  if (text === null) throw bad(`there is no file ${path}`, HINT.path);
  const { success, data, error } = file.safeParse(parseToml(text, path));
  if (success) return data;
  throw bad(`${path} cannot be used: ${error.issues[0]?.message ?? 'it has a mistake'}`, HINT.file);
}

/** Parses a TOML file of a buildpack. @throws DeployError `BAD_BUILDPACK` with the line of the mistake. */
function parseToml(text: string, path: string): unknown {
  try {
    return parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    throw bad(`${path} is not valid TOML${tomlProblem(cause)}`, HINT.file, { cause });
  }
}

/** What is wrong in a TOML file, and in which line: ` (line 3: …)`. */
function tomlProblem(error: unknown): string {
  if (!(error instanceof TomlError)) return '';
  const [first = ''] = error.message.split('\n');
  return ` (line ${error.line}: ${first.replace('Invalid TOML document: ', '')})`;
}

async function assertProgram(
  root: string,
  parts: readonly string[],
  { shown, program }: { readonly shown: string; readonly program: string },
): Promise<void> {
  const path = join(shown, program);
  const status = (await isPlainFolder(root, [...parts, 'bin']))
    ? await lstat(join(root, ...parts, program)).catch((error: unknown) => {
        if (systemCode(error) === 'ENOENT') return null;
        throw error;
      })
    : null;
  if (status === null)
    throw bad(
      `the buildpack has no file ${path}`,
      'A buildpack needs the two programs bin/detect and bin/build.',
    );
  // Do not check the target of a link: only the sandbox follows links, so the server cannot see the target.
  if (status.isSymbolicLink()) return;
  if (!status.isFile()) throw bad(`${path} is not a file`, 'Put a program there, for example a bash script.');
  if ((status.mode & 0o111) === 0)
    throw bad(
      `the file ${path} is not executable`,
      `Type: chmod +x ${path} (on Windows: git update-index --chmod=+x ${path}), and commit.`,
    );
}

function bad(message: string, hint: string, options?: ErrorOptions): DeployError {
  return new DeployError('BAD_BUILDPACK', message, hint, options);
}
