import type { Component } from '../components.ts';
import { hasEntry } from '../safe-files.ts';
import type { SettingsFile } from '../yaml/settings-file.ts';

/** Matches a path in a tool's home folder on Toolforge, into which its maintainers clone their repository. */
const homePath = /(?:\/data\/project\/[\w.-]+|(?<=^|[\s"'=])~|\$HOME|\$\{HOME\})(?:\/[\w.@+-]+)+/g;
/** Matches a program in a folder that may be a virtual environment that the maintainer made by hand. */
const venvProgram = /(?<=^|[\s"'])([\w.@+~$/-]+)\/bin\/(\w[\w.-]*)/g;
const hasHome = /\/data\/project\/|(?:^|[\s"'=])~\/|\$\{?HOME\b/;

/** At most this many paths are looked up for one file, because hostile commands may name thousands. */
const MAX_LOOKS = 1000;
/** A path with more parts is not looked up. */
const MAX_DEPTH = 32;

/**
 * Lets commands and health-check scripts use the files of the repository and the programs of the build. On Toolforge, they
 * use files in the tool's home folder, which is empty here. For example, `/data/project/bot/code/run.sh` becomes `./run.sh`
 * if the repository has this file.
 */
export async function withoutHome(
  yaml: SettingsFile,
  source: string,
  components: readonly Component[],
): Promise<Component[]> {
  const looks = { left: MAX_LOOKS };
  const moved: string[] = [];
  const lost: string[] = [];
  const changed: Component[] = [];
  for (const component of components) {
    const { name, settings = {} } = component;
    const script = settings.healthCheckScript;
    const command = await inRepository(source, component.command, looks);
    const healthCheckScript = script === undefined ? script : await inRepository(source, script, looks);
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
      `${yaml.path}: ${list(moved)} will use files of the repository and programs of the build, because the home folder is empty here`,
    );
  if (lost.length > 0)
    yaml.warn(
      [],
      `${yaml.path}: ${list(lost)} will not find files in /data/project or the home folder, which is empty here. Commands start in the folder of the repository, so name its files without /data/project`,
    );
  return changed;
}

async function inRepository(source: string, command: string, looks: { left: number }): Promise<string> {
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
  for (const [path] of text.matchAll(homePath)) {
    if (looks.left <= 0) break;
    const parts = path
      .replace(/^\/data\/project\/[\w.-]+|^~|^\$\{?HOME\}?/, '')
      .split('/')
      .slice(1);
    for (let index = Math.max(0, parts.length - MAX_DEPTH); index < parts.length; index += 1) {
      const rest = parts.slice(index);
      if (rest.some((part) => part === '.' || part === '..') || !(await has(rest))) continue;
      text = text.replace(path, () => `./${rest.join('/')}`);
      break;
    }
  }
  return text;
}

function list(names: readonly string[]): string {
  return `${names.slice(0, 10).join(', ')}${names.length > 10 ? ', …' : ''}`;
}
