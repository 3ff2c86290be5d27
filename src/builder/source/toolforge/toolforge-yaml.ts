import { namesIn } from '../../../core/disk/names-in.ts';
import { DeployError } from '../../../core/errors.ts';
import type { ToolName } from '../../../core/names.ts';
import type { Component } from '../components.ts';
import { isMapping, SettingsFile, shown } from '../yaml/settings-file.ts';
import { type ComponentEntry, readComponents, type ToolforgeOptions } from './component-entries.ts';
import { withoutHome } from './home-paths.ts';
import { jobEntries } from './jobs.ts';

const file = 'toolforge.yaml';
/** The usual paths of files for `toolforge jobs load` in the repositories of tools. */
const jobFiles = [
  ...[
    ['jobs.yaml'],
    ['jobs.yml'],
    ['toolforge-jobs.yaml'],
    ['toolforge', 'jobs.yaml'],
    ['.toolforge', 'jobs.yaml'],
  ],
  ...[['cronjobs.yaml'], ['toolforge', 'cronjobs.yaml'], ['.toolforge', 'cronjobs.yaml']],
];
/**
 * Matches an error that shows that a file such as jobs.yaml is probably a file of another program, such as Kubernetes.
 */
const ofOthers = /multiple documents|is larger than/;
const misspelt = /^\.?toolforge\.ya?ml$/i;
const EXAMPLE =
  'Write, below `components:`, `NAME: {run: {command: python3 update.py, schedule: "@daily"}}`, and push again.';

const topKeys = ['config_version', 'components', 'source_url', 'defaults'];
const componentKeys = ['component_type', 'build', 'run'];
const buildKeys = ['repository', 'ref', 'reuse_from', 'use_latest_versions', 'use_deprecated_versions'];

export interface ToolforgeYaml {
  readonly components: readonly Component[];
  /** Sentences about the parts of the file that are not used, or not as they are written. */
  readonly warnings: readonly string[];
}

/**
 * Reads the components of toolforge.yaml. If there is no toolforge.yaml, reads the first file of jobs that exists, such
 * as jobs.yaml. Its jobs become components too. Does not use a file that is probably of another program (`ofOthers`).
 *
 * @throws DeployError `BUILD_TOOLFORGE_YAML` or `BUILD_JOBS_YAML` if the file or one of its components cannot be used.
 * @see https://wikitech.wikimedia.org/wiki/Help:Toolforge/Deploy_your_tool
 * @see https://wikitech.wikimedia.org/wiki/Help:Toolforge/Running_jobs
 */
export async function readToolforgeYaml(source: string, options: ToolforgeOptions): Promise<ToolforgeYaml> {
  const found: SettingsFile[] = [];
  const warnings: string[] = [];
  for (const parts of [[file], ...jobFiles]) {
    const isOfJobs = parts.at(-1) !== file;
    try {
      const one = await SettingsFile.read(source, parts, {
        code: isOfJobs ? 'BUILD_JOBS_YAML' : 'BUILD_TOOLFORGE_YAML',
        hint: isOfJobs ? 'Correct the file or remove it, and push again.' : EXAMPLE,
      });
      if (one !== null) found.push(one);
    } catch (error) {
      if (!(error instanceof DeployError) || !isOfJobs || !ofOthers.test(error.message)) throw error;
      warnings.push(
        `${parts.join('/')} is not used, because it is probably a file of another program: ${error.message}.`,
      );
    }
  }
  const [yaml, ...others] = found;
  if (yaml?.path !== file) warnings.push(...(await misspeltFile(source)));
  if (yaml === undefined) return { components: [], warnings };
  const isOfJobs = yaml.path !== file || Array.isArray(yaml.content);
  const entries = isOfJobs ? jobEntries(yaml, options.tool) : componentEntries(yaml, options.tool);
  const startInHome = new Set(entries.filter((entry) => entry.startsInHome).map(({ name }) => name));
  const components = await withoutHome(yaml, source, readComponents(yaml, entries, options), startInHome);
  const unused = others.map(({ path }) => `${path} is not used, because ${yaml.path} is used.`);
  return { components, warnings: [...warnings, ...yaml.warnings, ...unused] };
}

async function misspeltFile(source: string): Promise<string[]> {
  const name = (await namesIn(source)).find((one) => misspelt.test(one));
  return name === undefined ? [] : [`${name} is not used: rename it to ${file} (exactly this name).`];
}

function componentEntries(yaml: SettingsFile, tool: ToolName): ComponentEntry[] {
  const content = yaml.mapping;
  yaml.warnOfUnknown([], file, Object.keys(content), topKeys);
  const version = content['config_version'] ?? 'v1beta1';
  if (version !== 'v1beta1')
    yaml.warn(
      ['config_version'],
      `config_version of ${file} is ${shown(version)}, but this server only knows v1beta1, and reads it as that`,
    );
  if (content['defaults'] !== undefined) yaml.hasNoEffect('defaults');
  const given = content['components'] ?? {};
  if (!isMapping(given))
    throw yaml.refusal(['components'], `${file} has no list of components below \`components:\``, EXAMPLE);
  const own = ownRepository(yaml, given, tool);
  return Object.entries(given).flatMap(([name, value]) => {
    const path = ['components', name];
    const place = `${shown(name)} in ${file}`;
    if (!isMapping(value) || !isMapping(value['run'])) {
      const isFlat = isMapping(value) && (value['command'] ?? value['schedule']) !== undefined;
      const hint = isFlat
        ? 'Write a line `run:` below its name. Move its other lines below `run:`, and indent them by two more spaces.'
        : 'Write below its name a line such as `run: {command: python3 app.py, port: 8000, publish: /}` or `run: {command: python3 update.py, schedule: "@daily"}`, and push again.';
      throw yaml.refusal(path, `the component ${place} has no \`run\``, hint);
    }
    yaml.warnOfUnknown(path, place, Object.keys(value), componentKeys);
    const build = isMapping(value['build']) ? value['build'] : {};
    yaml.warnOfUnknown([...path, 'build'], `build of ${place}`, Object.keys(build), buildKeys);
    if (build['use_deprecated_versions'] === true) yaml.hasNoEffect('use_deprecated_versions', name);
    const repository = repositoryOf(yaml, given, name);
    if (repository !== null && repository !== own) {
      yaml.warn(
        [...path, 'build'],
        `${place} is not used: it is built from ${shown(repository)}, but a push builds only its own repository`,
      );
      return [];
    }
    const run = value['run'];
    const kind = value['component_type'] ?? (run['schedule'] === undefined ? 'continuous' : 'scheduled');
    if (kind !== 'continuous' && kind !== 'scheduled') {
      throw yaml.refusal(
        [...path, 'component_type'],
        `the component ${place} has the unknown component_type ${shown(kind)}`,
        'Write `component_type: scheduled` or `continuous`, and push again.',
      );
    }
    return [{ name, kind, place, path: [...path, 'run'], run, spelled: (key: string) => key }];
  });
}

/**
 * The repository whose components are built here. Null if no component names one. If the components name several, this
 * is the one that holds the file of `source_url`, or else the one with the name of the tool.
 *
 * @throws DeployError if the components name several and neither rule finds one.
 */
function ownRepository(yaml: SettingsFile, given: Readonly<Record<string, unknown>>, tool: ToolName) {
  const all = new Set(Object.keys(given).flatMap((name) => repositoryOf(yaml, given, name) ?? []));
  const [first = null] = all;
  if (all.size <= 1) return first;
  const address = normalized(yaml.mapping['source_url']).replace(
    /^raw\.githubusercontent\.com/,
    'github.com',
  );
  const own =
    [...all].find((one) => address.startsWith(`${one}/`)) ??
    [...all].find((one) => one.replace(/^.*\/(tool-)?/, '') === tool);
  if (own !== undefined) return own;
  throw yaml.refusal(
    ['components'],
    `the components of ${file} are built from ${all.size} repositories, and none has the name ${tool}`,
    'Keep only the components of this repository in toolforge.yaml, or write the address of this toolforge.yaml as source_url, and push again.',
  );
}

/**
 * The address of the repository from which a component is built, as `normalized` writes it. If the component has
 * `reuse_from`, this is the repository of the component that `reuse_from` names. Null if no repository is named.
 */
function repositoryOf(
  yaml: SettingsFile,
  given: Readonly<Record<string, unknown>>,
  start: string,
): string | null {
  const seen = new Set<string>();
  let name = start;
  let reused: unknown;
  for (;;) {
    const component = given[name];
    const build = isMapping(component) ? component['build'] : undefined;
    if (!isMapping(build)) return null;
    reused = build['reuse_from'];
    if (reused === undefined)
      return typeof build['repository'] === 'string' ? normalized(build['repository']) : null;
    if (typeof reused !== 'string' || !Object.hasOwn(given, reused) || seen.has(reused)) break;
    seen.add(name);
    name = reused;
  }
  throw yaml.refusal(
    ['components', name, 'build'],
    `the component ${shown(name)} in ${file} reuses the build of ${shown(reused)}, but no component of this name has a build of its own`,
    `Write one of ${Object.keys(given).slice(0, 10).map(shown).join(', ')}, or remove \`build\`: every component runs in the build of this push.`,
  );
}

/** An address in lower case, without scheme, `.git` and final slash. Empty if the value is no text. */
function normalized(address: unknown): string {
  if (typeof address !== 'string') return '';
  return address
    .trim()
    .toLowerCase()
    .replace(/^[a-z+]+:\/\//, '')
    .replace(/(\.git)?\/?$/, '');
}
