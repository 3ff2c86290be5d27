import { mkdir } from 'node:fs/promises';
import { masking } from '../../core/masking/masking.ts';
import type { Progress } from '../../core/progress.ts';
import type { BuildRequest } from '../builder.ts';
import { type OwnBuildpacks, readOwnBuildpacks } from '../buildpack-api/own-buildpacks.ts';
import { namesIn } from '../folders.ts';
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
  /** A line for people about the files that .slugignore removed, or null if there is no .slugignore. */
  readonly leftOut: string | null;
  /** The variables of the build, for config vars that are not set. */
  readonly buildVariables: Readonly<Record<string, string>>;
  /** The buildpacks in the source that project.toml names. */
  readonly own: OwnBuildpacks;
  /** What to tell the person who pushes, with secrets masked. */
  readonly warnings: readonly string[];
  /** The names of the files and folders at the top of the source, sorted. */
  readonly files: readonly string[];
  /** The command of `web` in the Procfile, with secrets masked, or null. */
  readonly webLine: string | null;
  /** A sentence, without its full stop, about each file that was meant for the build and that no buildpack reads. */
  readonly overlooked: readonly string[];
}

/**
 * Writes the files of a commit into a new folder, removes those that .slugignore names, rewrites UTF-16 as UTF-8, and
 * reads service.template, toolforge.yaml, jobs.yaml, app.json and project.toml.
 *
 * @throws DeployError `BUILD_CONFLICT`, `BUILD_SERVICE_TEMPLATE`, `BUILD_TOOLFORGE_YAML`, `BUILD_JOBS_YAML`,
 *   `BUILD_APP_JSON`, `BUILD_SLUGIGNORE`, `BUILD_PROJECT_TOML`, `BAD_BUILDPACK`
 */
export async function prepareSource(
  request: Pick<BuildRequest, 'checkOut' | 'tool' | 'configVars'> & { readonly mostScheduled: number },
  folder: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<PreparedSource> {
  progress.step('Detecting buildpacks');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await request.checkOut(folder);
  signal.throwIfAborted();
  const rewritten = await rewriteAsUtf8(folder, await namesIn(folder));
  const project = await readProjectToml(folder);
  const leftOut = await applySlugignore(folder, project.exclude);
  const files = (await namesIn(folder)).sort();
  const template = await readServiceTemplate(folder);
  const asked = await readToolforgeYaml(folder, request);
  const app = await readAppJson(folder, request.configVars);
  const procfile = await readProcfile(folder);
  const overlooked = await overlookedFiles(folder, files);
  const own = await readOwnBuildpacks(folder);
  const mask = await masking(request.configVars);
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
    ...(await sourceWarnings(folder)),
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
    buildVariables: { ...app.variables, ...buildSecrets(app), ...project.buildVariables },
    own,
    warnings: warnings.map(mask),
    files,
    webLine: procfile.web === null ? null : mask(procfile.web),
    overlooked: overlooked.map(mask),
  };
}
