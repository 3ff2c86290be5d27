import type { ToolName } from '../../../core/names.ts';
import { isMapping, type SettingsFile, shown } from '../yaml/settings-file.ts';
import type { ComponentEntry } from './component-entries.ts';

/** The image that Toolforge builds from a tool's source, as jobs name it, with or without a registry and a tag. */
const builtImage = /^(?:[\w.:-]+\/)?(tool-[a-z0-9._-]+)\/([a-z0-9._-]+)(?:[:@].*)?$/;
/**
 * Matches a ready-made image of a language. If a job names one, the buildpack of the language takes part in the build
 * (`jobs_in` in buildpacks/shared/text.sh).
 */
const isOfLanguage = /^(?:tf-)?(?:python|php|node)\d/;
/** Keys of toolforge.yaml that have another name in a file of jobs. In all other keys, only `_` becomes `-`. */
const spelling: Readonly<Record<string, string>> = { memory: 'mem' };

/**
 * The jobs of a file for `toolforge jobs load` as components. A job that neither has a schedule nor is continuous
 * becomes a named command. The result lacks jobs whose image is built from another source. If the file has no list of
 * jobs, returns no entries and warns, but throws no error: the file may belong to another program that uses the same
 * file name.
 */
export function jobEntries(yaml: SettingsFile, tool: ToolName): ComponentEntry[] {
  const jobs = Array.isArray(yaml.content) ? yaml.content.filter(isMapping) : [];
  if (!jobs.some((job) => job['name'] !== undefined && job['command'] !== undefined)) {
    yaml.warn([], `${yaml.path} is not used, because it has no list of jobs with \`name\` and \`command\``);
    return [];
  }
  const own = ownImage(jobs, tool);
  return (yaml.content as unknown[]).flatMap((job, index) => {
    const name = isMapping(job) ? job['name'] : undefined;
    if (!isMapping(job) || typeof name !== 'string') {
      throw yaml.refusal(
        [index],
        `a job of ${yaml.path} has no name`,
        'Begin each job with a line `- name: NAME`, and push again.',
      );
    }
    const { name: _, continuous, wait: __, image, 'no-filelog': ___, ...run } = job;
    const place = `${shown(name)} in ${yaml.path}`;
    const built = typeof image === 'string' ? builtImage.exec(image)?.[0] : undefined;
    if (built !== undefined && builtName(built) !== own) {
      yaml.warn(
        [index, 'image'],
        `${place} is not used: its image ${shown(image)} is not built from this repository`,
      );
      return [];
    }
    if (built === undefined && image !== undefined)
      yaml.hasNoEffect(
        `${typeof image === 'string' && isOfLanguage.test(image) ? 'the version in ' : ''}image ${shown(image)}`,
        shown(name),
      );
    const kind = continuous === true ? 'continuous' : run['schedule'] === undefined ? 'command' : 'scheduled';
    return [
      {
        // A process type cannot have full stops in its name, but a job on Toolforge can.
        name: name.replaceAll('.', '-'),
        kind,
        place,
        path: [index],
        startsInHome: built === undefined && image !== undefined,
        run: Object.fromEntries(Object.entries(run).map(([key, value]) => [inYaml(key), value])),
        spelled: (key: string) => spelling[key] ?? key.replaceAll('_', '-'),
      },
    ];
  });
}

function inYaml(key: string): string {
  return Object.keys(spelling).find((name) => spelling[name] === key) ?? key.replaceAll('-', '_');
}

function builtName(image: string): string {
  const [, project = '', name = ''] = builtImage.exec(image) ?? [];
  return `${project}/${name}`;
}

/**
 * Of the built images that the jobs name, the image that counts as built from this repository. If the jobs name one
 * built image, it is that image. If they name several, it is the first image of this tool (`tool-TOOL/…`), or else the
 * first with a default name, `tool-NAME/tool-NAME`. Otherwise undefined.
 */
function ownImage(jobs: readonly Readonly<Record<string, unknown>>[], tool: ToolName): string | undefined {
  const images = jobs.flatMap(({ image }) =>
    typeof image === 'string' && builtImage.test(image) ? [builtName(image)] : [],
  );
  const all = [...new Set(images)];
  if (all.length === 1) return all[0];
  const ofTool = all.find((image) => image.startsWith(`tool-${tool}/`));
  return ofTool ?? all.find((image) => new Set(image.split('/')).size === 1);
}
