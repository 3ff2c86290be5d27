import { DeployError } from '../../../core/errors.ts';
import type { ServiceSettings } from '../../../core/types.ts';
import { SettingsFile, shown } from '../yaml/settings-file.ts';
import { commandWithoutHome } from './home-paths.ts';
import {
  type Reader,
  readCommandLine,
  readCpu,
  readMemory,
  readPath,
  readReplicas,
} from './setting-readers.ts';

const file = 'service.template';

/** The folders of a repository in which Toolforge's `webservice` looks for a service.template. */
const places: readonly (readonly string[])[] = [[], ['www', 'python', 'src'], ['www', 'js'], ['public_html']];
/**
 * Folders in which repositories keep a service.template that maintainers copy into the home folder of the tool. This
 * service.template is used if there is none in `places`. Its `extra_args` are not used, because they name files of the
 * home folder.
 */
const copied: readonly (readonly string[])[] = [['toolforge'], ['.toolforge']];

/**
 * The keys of service.template, each with the function that reads its value. Null if the value has no effect here, and
 * for `extra_args`, which `commandOf` reads.
 */
const keys: Readonly<Record<string, Reader | null>> = {
  type: readType,
  'health-check-path': readPath,
  mount: readMount,
  replicas: readReplicas,
  cpu: readCpu,
  mem: readMemory,
  extra_args: null,
  backend: null,
  release: null,
  canonical: null,
  'buildservice-image': null,
};

export interface ServiceTemplate {
  readonly settings: Partial<ServiceSettings>;
  /** The command line of the web process, from `extra_args`. Null if `extra_args` is no command line. */
  readonly command: string | null;
  /**
   * Sentences about the parts of service.template that are not used, and about a command in extra_args that is changed.
   */
  readonly warnings: readonly string[];
}

/**
 * Reads the settings of the web process from service.template.
 *
 * @throws DeployError `BUILD_SERVICE_TEMPLATE` if the folders of `places` have more than one service.template, or if the
 * file is too large, is not valid YAML or is not a mapping.
 * @see https://wikitech.wikimedia.org/wiki/Help:Toolforge/Web
 */
export async function readServiceTemplate(source: string): Promise<ServiceTemplate> {
  const found: SettingsFile[] = [];
  for (const folder of [...places, ...copied]) {
    if (copied.includes(folder) && found.length > 0) break;
    const parts = [...folder, file];
    const hint = `Write lines such as \`type: python3.11\` into ${parts.join('/')}, or remove it, and push again.`;
    const template = await SettingsFile.read(source, parts, { code: 'BUILD_SERVICE_TEMPLATE', hint });
    if (template !== null) found.push(template);
  }
  const [template] = found;
  if (template === undefined) return { settings: {}, command: null, warnings: [] };
  if (found.length > 1) {
    throw new DeployError(
      'BUILD_SERVICE_TEMPLATE',
      `the repository has more than one ${file}: ${found.map(({ path }) => path).join(', ')}`,
      'Keep only one of them, at the top of the repository, and push again.',
    );
  }
  const content = template.mapping;
  template.warnOfUnknown([], template.path, Object.keys(content), Object.keys(keys));
  const settings: Partial<ServiceSettings>[] = [];
  for (const [key, read] of Object.entries(keys)) {
    const value = Object.hasOwn(content, key) ? (content[key] ?? null) : null;
    if (read === null || value === null) continue;
    const result = read(value);
    if (typeof result === 'string') template.warn([key], `${key} of ${template.path}: ${result}`);
    else settings.push(result);
  }
  const isInPlace = places.some((folder) => [...folder, file].join('/') === template.path);
  const given = isInPlace ? commandOf(content) : null;
  const command = given === null ? null : await commandWithoutHome(source, given);
  if (command !== given)
    template.warn(
      ['extra_args'],
      `extra_args of ${template.path} will use files of the repository, because the home folder is empty here`,
    );
  if (command === null && (content['extra_args'] ?? null) !== null) template.hasNoEffect('extra_args');
  return { settings: Object.assign({}, ...settings), command, warnings: template.warnings };
}

/**
 * The command line in `extra_args`. Null if `extra_args` is not a command line that can be used, or if `type` has a web
 * server of its own: such types pass the words of `extra_args` to their server.
 */
function commandOf({ type, extra_args: words }: Readonly<Record<string, unknown>>): string | null {
  const hasServer =
    typeof type === 'string' && /^(python|node|php|perl|lighttpd|static|tomcat|uwsgi)/.test(type);
  if (hasServer || !Array.isArray(words) || words.some((word) => typeof word === 'object')) return null;
  return readCommandLine(words.join(' '));
}

/** Checks `type` of service.template. The buildpacks read it themselves, so this only warns about a useless value. */
function readType(value: unknown): ReturnType<Reader> {
  if (typeof value === 'string' && /^(buildservice$|python|node|php|perl)/.test(value)) return {};
  return `${shown(value)} has no effect here, because the files of the repository decide how the tool is built`;
}

function readMount(value: unknown): ReturnType<Reader> {
  if (value === 'none') return {};
  if (value === 'all') {
    return 'there is no NFS here, so the tool cannot read home folders, dumps or files that were written earlier';
  }
  return `${shown(value)} is not used: the known values are none and all`;
}
