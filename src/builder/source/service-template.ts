import { DeployError } from '../../core/errors.ts';
import { parseQuantity } from '../../core/text/quantity.ts';
import type { ServiceSettings } from '../../core/types.ts';
import { readPlainFile } from './safe-files.ts';
import { parseMapping, shown } from './small-yaml.ts';

const file = 'service.template';
/** A larger service.template is refused. A hostile YAML file of 64 kB would keep the parser busy for a second. */
const MAX_BYTES = 16 * 1024;
const smallestMemory = 16 * 1024 * 1024;
const MAX_REPLICAS = 100;
/**
 * Matches a part `.` or `..` of the path of a URL, in any encoding, and characters that some servers take for a slash.
 */
const climbs = /(?:\/|%2f)(?:\.|%2e){1,2}(?=\/|%2f|$)|\\|%5c/i;

/** The folders of a repository in which Toolforge's `webservice` looks for a service.template. */
const places: readonly (readonly string[])[] = [[], ['www', 'python', 'src'], ['www', 'js'], ['public_html']];

/** The settings that one key of service.template or toolforge.yaml sets, or the reason why the key is not used. */
export type Read = Partial<ServiceSettings> | string;

/** The keys of service.template, each with the function that reads its value. Null if this server ignores the key. */
const keys: Readonly<Record<string, ((value: unknown) => Read) | null>> = {
  type: readType,
  'health-check-path': readPath,
  mount: readMount,
  replicas: readReplicas,
  cpu: readCpu,
  mem: readMemory,
  backend: null,
  release: null,
  'buildservice-image': null,
  extra_args: null,
};

/**
 * Reads the settings of the web process from service.template. Returns a warning for each part that is not used.
 *
 * @throws DeployError `BUILD_SERVICE_TEMPLATE` if the repository has more than one service.template, or if the file is
 * too large or is not a YAML mapping.
 * @see https://wikitech.wikimedia.org/wiki/Help:Toolforge/Web
 */
export async function readServiceTemplate(
  source: string,
): Promise<{ settings: ServiceSettings; warnings: string[] }> {
  const nothing: ServiceSettings = { healthCheckPath: null };
  const found = await findTemplates(source);
  const [template] = found;
  if (template === undefined) return { settings: nothing, warnings: [] };
  if (found.length > 1) {
    throw refusal(
      `there is more than one ${file}: ${found.map(({ path }) => path).join(', ')}`,
      'Keep one of them, at the top of the repository, and push again.',
    );
  }
  const content = await readContent(template);
  const unknown = Object.keys(content).filter((key) => !Object.hasOwn(keys, key));
  const warnings =
    unknown.length === 0
      ? []
      : [
          `${template.path} contains unknown keys: ${unknown.slice(0, 10).map(shown).join(', ')}. Known are: ${Object.keys(keys).join(', ')}.`,
        ];
  let settings = nothing;
  for (const [key, read] of Object.entries(keys)) {
    const value = Object.hasOwn(content, key) ? content[key] : null;
    if (read === null || value === null || value === undefined) continue;
    const result = read(value);
    if (typeof result === 'string') warnings.push(`${key} of ${template.path}: ${result}.`);
    else settings = { ...settings, ...result };
  }
  return { settings, warnings };
}

interface Template {
  readonly path: string;
  /** The content of this service.template. Null if the file is too large to be read. */
  readonly text: string | null;
}

async function findTemplates(source: string): Promise<Template[]> {
  const found: Template[] = [];
  for (const folder of places) {
    const path = [...folder, file];
    try {
      const text = await readPlainFile(source, path, MAX_BYTES);
      if (text !== null) found.push({ path: path.join('/'), text });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      found.push({ path: path.join('/'), text: null });
    }
  }
  return found;
}

async function readContent({ path, text }: Template): Promise<Record<string, unknown>> {
  const hint = `Write lines such as \`type: python3.11\` into ${path}, or remove it, and push again.`;
  if (text === null) throw refusal(`${path} is larger than ${MAX_BYTES / 1024} kB`, hint);
  const content = await parseMapping(text);
  if ('why' in content) throw refusal(`${path} ${content.why}`, hint, { cause: content.cause });
  return content.mapping;
}

function refusal(message: string, hint: string, options?: ErrorOptions): DeployError {
  return new DeployError('BUILD_SERVICE_TEMPLATE', message, hint, options);
}

/** Checks `type` of service.template. The buildpacks read it themselves, so this only warns about a useless value. */
function readType(value: unknown): Read {
  if (typeof value === 'string' && /^(buildservice$|python|node)/.test(value)) return {};
  return `${shown(value)} chooses nothing here; what is built is found out by the files`;
}

export function readPath(value: unknown): Read {
  if (typeof value !== 'string' || !/^\/[\x21-\x7e]{0,1023}$/.test(value))
    return 'it is not used: it must begin with / and hold no space';
  if (climbs.test(value.replace(/[?#].*$/, '')))
    return 'it is not used: it must hold no . or .. as a part, and no backslash';
  return { healthCheckPath: value };
}

function readMount(value: unknown): Read {
  if (value === 'none') return {};
  if (value === 'all') {
    return 'there is no NFS here: home folders, dumps and files that were written earlier are not mounted';
  }
  return `${shown(value)} is not used: none and all are known`;
}

export function readReplicas(value: unknown): Read {
  const isCount = typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_REPLICAS;
  return isCount
    ? { replicas: value }
    : `${shown(value)} is not used: it must be a whole number from 1 to ${MAX_REPLICAS}`;
}

export function readCpu(value: unknown): Read {
  const cores = parseQuantity(value);
  return cores === null ? `${shown(value)} is not used: write it as 500m or 1` : { cpuCores: cores };
}

export function readMemory(value: unknown): Read {
  const bytes = parseQuantity(value);
  if (bytes === null) return `${shown(value)} is not used: write it as 512Mi or 1Gi`;
  if (bytes < smallestMemory) return `${shown(value)} is not used: less than 16Mi is too little to start`;
  return { memoryBytes: Math.floor(bytes) };
}
