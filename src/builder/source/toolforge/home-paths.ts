import type { Component } from '../components.ts';
import { hasEntry, isPlainFolder } from '../safe-files.ts';
import type { SettingsFile } from '../yaml/settings-file.ts';

/** Matches a path in a tool's home folder on Toolforge, into which its maintainers clone their repository. */
const homePath = /(?:\/data\/project\/[\w.-]+|(?<=^|[\s"'=])~|\$HOME|\$\{HOME\})(?:\/[\w.@+-]+)+/g;
/**
 * Matches the path of a program in a folder that may be a virtual environment made by hand, such as `venv/bin/python3`.
 */
const venvProgram = /(?<=^|[\s"'])([\w.@+~$/-]+)\/bin\/(\w[\w.-]*)/g;
const hasHome = /\/data\/project\/|(?:^|[\s"'=])~\/|\$\{?HOME\b/;
/**
 * Matches a `cd` into the home folder or a folder in it, before `&&` or `;`. The first group is `cd` and the spaces
 * after it.
 */
const intoHome =
  /(?<=^|[\s"'(;&])(cd\s+)(?:\/data\/project\/[\w.-]+|~|\$HOME|\$\{HOME\})(?:\/[\w.@+-]+)*\/?(?=\s*(?:&&|;))/g;
/** Matches a relative path that has at least one folder, such as `bin/update.py`. */
const relativePath = /(?<=^|[\s"';&])(?:\.\/)?[\w@+-][\w.@+-]*(?:\/[\w.@+-]+)+/g;

/** At most this many paths are looked up for the commands of one file, because hostile commands may name thousands. */
const MAX_LOOKS = 1000;
/** If a path has more parts than this, only its last `MAX_DEPTH` parts are looked up. */
const MAX_DEPTH = 32;

/**
 * Changes commands and health check scripts that were written for Toolforge so that they use the files of the
 * repository and the programs of the build. On Toolforge, they use files in the tool's home folder, which is empty
 * here. For example, `/data/project/bot/code/run.sh` becomes `./run.sh` if the repository has this file.
 *
 * @param startInHome - The names of the components whose commands start in the home folder on Toolforge.
 */
export async function withoutHome(
  yaml: SettingsFile,
  source: string,
  components: readonly Component[],
  startInHome: ReadonlySet<string>,
): Promise<Component[]> {
  const looks = { left: MAX_LOOKS };
  const moved: string[] = [];
  const lost: string[] = [];
  const changed: Component[] = [];
  for (const component of components) {
    const { name, settings = {} } = component;
    const script = settings.healthCheckScript;
    const isInHome = startInHome.has(name);
    const command = await inRepository(source, component.command, looks, isInHome);
    const healthCheckScript =
      script === undefined ? script : await inRepository(source, script, looks, isInHome);
    const text = `${command} ${healthCheckScript ?? ''}`;
    if (hasHome.test(text)) lost.push(name);
    else if (command !== component.command || healthCheckScript !== script) moved.push(name);
    changed.push({
      ...component,
      command,
      ...(healthCheckScript === undefined ? {} : { settings: { ...settings, healthCheckScript } }),
    });
  }
  if (moved.length > 0)
    yaml.warn(
      [],
      `${yaml.path}: ${list(moved)} will use files of the repository and programs of the build, because the tool’s home folder is empty here`,
    );
  if (lost.length > 0)
    yaml.warn(
      [],
      `${yaml.path}: ${list(lost)} will not find files in /data/project or in the home folder, because both are empty here. Commands start at the top of the repository: write \`./run.sh\` for its file run.sh`,
    );
  return changed;
}

/**
 * Changes a command of service.template so that it uses files of the repository instead of files in the home folder, as
 * `withoutHome` does.
 */
export async function commandWithoutHome(source: string, command: string): Promise<string> {
  return inRepository(source, command, { left: MAX_LOOKS }, false);
}

async function inRepository(
  source: string,
  command: string,
  looks: { left: number },
  startsInHome: boolean,
): Promise<string> {
  const has = async (parts: readonly string[]) => {
    looks.left -= 1;
    return looks.left >= 0 && parts.length <= MAX_DEPTH && (await hasEntry(source, parts));
  };
  let text = command;
  for (const [path, environment = '', program = ''] of command.matchAll(venvProgram)) {
    const folder = environment.slice(environment.lastIndexOf('/') + 1);
    if (folder !== '.venv' && !(/^[\w-]+$/.test(folder) && folder.includes('venv'))) continue;
    const isInSource = !/^[~$/]/.test(path) && (await has(path.split('/')));
    if (!isInSource) text = text.replace(path, () => program);
  }
  /**
   * Leaves out parts at the beginning of a path, at least one and as few as possible, until the repository has the
   * rest. Returns `./` and the rest. Null if the repository has no rest of the path.
   */
  const endInSource = async (parts: readonly string[]) => {
    for (let index = Math.max(1, parts.length - MAX_DEPTH); index < parts.length; index += 1) {
      const rest = parts.slice(index);
      if (rest.every((part) => part !== '.' && part !== '..') && (await has(rest)))
        return `./${rest.join('/')}`;
    }
    return null;
  };
  for (const [path] of text.matchAll(homePath)) {
    if (looks.left <= 0) break;
    const parts = path.replace(/^\/data\/project\/[\w.-]+|^~|^\$\{?HOME\}?/, '').split('/');
    const found = await endInSource(parts);
    if (found !== null) text = text.replace(path, () => found);
  }
  // On Toolforge, commands of jobs with a ready-made image start in the home folder, so the first folder of a relative
  // path may be the maintainer's clone of the repository. Here they start in the repository. If the repository has only
  // the end of the path, the folders before it are removed from the path.
  for (const [path] of startsInHome ? text.matchAll(relativePath) : []) {
    if (looks.left <= 0) break;
    const parts = path.replace(/^\.\//, '').split('/');
    const found = (await has(parts)) ? null : await endInSource(parts);
    if (found !== null) text = text.replace(path, () => found);
  }
  const [, folder = ''] = (startsInHome && /^cd\s+([\w.@+-]+)\/?\s*(?:&&|;)/.exec(text)) || [];
  if (folder !== '' && !(await isPlainFolder(source, [folder]))) text = text.replace(folder, '.');
  return text.replace(intoHome, '$1.');
}

function list(names: readonly string[]): string {
  return `${names.slice(0, 10).join(', ')}${names.length > 10 ? ', …' : ''}`;
}
