import { mkdir } from 'node:fs/promises';
import { namesIn } from '../../core/disk/names-in.ts';
import { DeployError } from '../../core/errors.ts';
import { maskedLines, masking } from '../../core/masking/masking.ts';
import type { Progress } from '../../core/progress.ts';
import { assertConfigured } from '../../core/variables/required-config.ts';
import type { BuildRequest } from '../builder.ts';
import { type OwnBuildpacks, ownIds, readOwnBuildpacks } from '../buildpack-api/own-buildpacks.ts';
import { buildSecrets, readAppJson } from './app-json.ts';
import type { ProcessRequests } from './components.ts';
import { overlookedFiles } from './overlooked-files.ts';
import { rewriteAsUtf8, windowsScripts } from './plain-text.ts';
import { readProcfile } from './procfile.ts';
import { readProjectToml } from './project-toml.ts';
import { applySlugignore } from './slugignore.ts';
import { sourceWarnings } from './source-warnings.ts';
import { readServiceTemplate } from './toolforge/service-template.ts';
import { readToolforgeYaml } from './toolforge/toolforge-yaml.ts';

/** The files of a commit, ready to be built. */
export interface PreparedSource extends ProcessRequests {
  readonly folder: string;
  /**
   * A line for people about the files that were removed because .slugignore or project.toml names them. Null if there
   * is no .slugignore, and project.toml has no `exclude`.
   */
  readonly leftOut: string | null;
  /**
   * The build's variables from app.json and project.toml. If a config var of the same name is set, the config var is
   * used instead.
   */
  readonly buildVariables: Readonly<Record<string, string>>;
  /** The repository's own buildpacks, which project.toml names. */
  readonly own: OwnBuildpacks;
  /** Sentences for the person who pushes, with config vars masked. */
  readonly warnings: readonly string[];
  /** The names of the files and folders at the top of the source, sorted. */
  readonly files: readonly string[];
  /** The command of `web` in the Procfile, with config vars masked. Null if the Procfile has none. */
  readonly webLine: string | null;
  /** The commands of the Procfile by process type. */
  readonly procfile: ReadonlyMap<string, string>;
  /**
   * Sentences, without their full stops, about files that were probably meant for the build but that no buildpack
   * reads. Config vars are masked.
   */
  readonly overlooked: readonly string[];
}

/** At most this many warnings about one source are shown. A hostile file of 64 kB can cause 30,000 warnings. */
const MAX_WARNINGS = 100;
/** A longer warning is cut. */
const MAX_CHARACTERS = 1000;

/**
 * Writes the files of a commit into a new folder. Rewrites UTF-16 as UTF-8, reads project.toml, and removes the files
 * that .slugignore and project.toml name. Then reads service.template, toolforge.yaml or jobs.yaml, app.json and the
 * Procfile.
 *
 * @throws DeployError `BUILD_CONFLICT` if a file has the marks of a merge conflict; `BAD_BUILDPACK` if a buildpack of
 *   the repository cannot be used; `CONFIG_MISSING` if a config var that app.json requires is not set. Each file that
 *   cannot be used has a code of its own: `BUILD_SERVICE_TEMPLATE`, `BUILD_TOOLFORGE_YAML`, `BUILD_JOBS_YAML`,
 *   `BUILD_APP_JSON`, `BUILD_SLUGIGNORE` or `BUILD_PROJECT_TOML`.
 */
export async function prepareSource(
  request: Pick<BuildRequest, 'checkOut' | 'tool' | 'toolNumber' | 'configVars' | 'rebaseOf'> & {
    readonly mostScheduled: number;
  },
  folder: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<PreparedSource> {
  if (request.rebaseOf === undefined) progress.step('Detecting buildpacks');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await request.checkOut(folder);
  signal.throwIfAborted();
  const rewritten = await rewriteAsUtf8(folder, await namesIn(folder));
  const project = await readProjectToml(folder);
  const own = await readOwnBuildpacks(folder);
  const leftOut = await applySlugignore(folder, project.exclude);
  if (leftOut !== null) await assertNotLeftOut(folder, own);
  const files = (await namesIn(folder)).sort();
  const template = await readServiceTemplate(folder);
  const asked = await readToolforgeYaml(folder, request);
  const app = await readAppJson(folder);
  // Do not check for a rebase whether the required config vars are set: a rebase builds nothing, and the release ran
  // with the same config vars before.
  if (request.rebaseOf === undefined) assertConfigured(request.tool, app.required, request.configVars);
  const procfile = await readProcfile(folder);
  const overlooked = await overlookedFiles(folder, files);
  const share = String(request.toolNumber);
  const { steps } = await masking(request.configVars, share);
  const masked = (lines: readonly string[]) => maskedLines(lines, steps, share);
  const warnings = [
    ...(leftOut?.warnings ?? []),
    ...rewritten,
    ...template.warnings,
    ...asked.warnings,
    ...project.warnings,
    ...app.warnings,
    ...own.warnings,
    ...procfile.warnings,
    ...(await windowsScripts(folder)),
    ...(await sourceWarnings(folder, leftOut === null)),
    ...overlooked.map((sentence) => `${sentence}.`),
  ];
  return {
    folder,
    leftOut: leftOut?.summary ?? null,
    template,
    components: asked.components,
    formation: app.formation,
    variables: app.variables,
    secrets: app.secrets,
    required: app.required,
    test: app.test,
    buildVariables: { ...app.variables, ...buildSecrets(app), ...project.buildVariables },
    own,
    warnings: await limited(warnings, masked),
    files,
    webLine: procfile.web === null ? null : ((await masked([procfile.web]))[0] ?? null),
    procfile: procfile.commands,
    overlooked: await masked(overlooked),
  };
}

/**
 * Checks that no pattern of .slugignore or project.toml has removed files of the buildpacks that project.toml names.
 * @throws DeployError `BUILD_SLUGIGNORE` if one has.
 */
async function assertNotLeftOut(folder: string, own: OwnBuildpacks): Promise<void> {
  const left = await readOwnBuildpacks(folder).then(ownIds, (error: unknown) => {
    if (error instanceof DeployError) return [] as string[];
    throw error;
  });
  const lost = ownIds(own).filter((id) => !left.includes(id));
  if (lost.length === 0) return;
  throw new DeployError(
    'BUILD_SLUGIGNORE',
    `.slugignore, or exclude in project.toml, removes files of the buildpack ${lost.join(' or ')}, which project.toml names`,
    'Remove the pattern that matches the folder of the buildpack, commit and push again.',
  );
}

/** Masks and shortens the warnings. Masks before it cuts, because a part of a config var would not be masked. */
async function limited(
  warnings: readonly string[],
  masked: (lines: readonly string[]) => Promise<string[]>,
): Promise<string[]> {
  const kept = (await masked(warnings.slice(0, MAX_WARNINGS))).map((text) =>
    text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text,
  );
  const more = warnings.length - kept.length;
  return more === 0 ? kept : [...kept, `${more} more warnings are not shown.`];
}
