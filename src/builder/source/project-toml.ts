import { parse } from 'smol-toml';
import { RESERVED_VARIABLE } from '../../core/names.ts';
import { readIfSmall } from './safe-files.ts';
import { isMapping, shown } from './yaml/settings-file.ts';

const file = 'project.toml';
/** `readOwnBuildpacks` refuses a larger project.toml. A hostile TOML file of 64 kB keeps the parser busy for 70 ms. */
export const MAX_PROJECT_BYTES = 16 * 1024;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

export interface ProjectToml {
  /** The variables that only builds get. The processes of the tool do not get them. */
  readonly buildVariables: Readonly<Record<string, string>>;
  /** Patterns of files that the build does not get. Each is written as a line of a .gitignore. */
  readonly exclude: readonly string[];
  /** Sentences about the parts of project.toml that are not used. */
  readonly warnings: readonly string[];
}

/**
 * Reads what a project descriptor says about builds: `exclude` and the variables, in the present form
 * (`[io.buildpacks]`) and the earlier one (`[build]`). The buildpack `apt` reads `[apt]`, and `readOwnBuildpacks` reads
 * the lists of buildpacks.
 *
 * @see https://github.com/buildpacks/spec/blob/main/extensions/project-descriptor.md
 */
export async function readProjectToml(source: string): Promise<ProjectToml> {
  const nothing = { buildVariables: {}, exclude: [], warnings: [] };
  const text = await readIfSmall(source, [file], MAX_PROJECT_BYTES);
  if (text === null) return nothing;
  let content: Record<string, unknown>;
  try {
    content = parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    const line = error instanceof Error && 'line' in error ? ` (line ${error.line})` : '';
    return { ...nothing, warnings: [`${file} is not used, because it is not valid TOML${line}.`] };
  }
  const io = isMapping(content['io']) ? content['io']['buildpacks'] : undefined;
  const present = isMapping(io) ? io : {};
  const earlier = isMapping(content['build']) ? content['build'] : {};
  const table = { ...earlier, ...present };
  const build = isMapping(present['build']) ? present['build'] : {};
  const variables = [earlier['env'], build['env']].flatMap((list) => (Array.isArray(list) ? list : []));
  const buildVariables: Record<string, string> = {};
  const warnings: string[] = [];
  for (const one of variables) {
    const { name, value = '' } = isMapping(one) ? one : {};
    const isUsable = typeof name === 'string' && NAME.test(name) && !RESERVED_VARIABLE.test(name);
    if (isUsable && typeof value !== 'object') {
      buildVariables[name] = String(value);
    } else
      warnings.push(
        `${file}: the build variable ${shown(name ?? one)} is not used, because its name or its value is not allowed.`,
      );
  }
  const exclude = Array.isArray(table['exclude'])
    ? table['exclude'].filter((one) => typeof one === 'string')
    : [];
  const unused = ['include', 'builder'].filter((key) => table[key] !== undefined);
  if (unused.length > 0) {
    const verb = unused.length === 1 ? 'has' : 'have';
    warnings.push(
      `${file}: ${unused.join(', ')} ${verb} no effect here: a build gets all files that exclude does not name, and these files choose the buildpacks.`,
    );
  }
  return { buildVariables, exclude, warnings };
}
