import type { Component } from '../components.ts';
import { hasEntry } from '../safe-files.ts';
import type { SettingsFile } from '../yaml/settings-file.ts';

/** Matches a path in a tool's home folder on Toolforge, into which its maintainers clone their repository. */
const homePath = /(?:\/data\/project\/[\w.-]+|(?<=^|[\s"'=])~|\$HOME|\$\{HOME\})(?:\/[\w.@+-]+)+/g;
/** Matches a program in a virtual environment that the maintainer made by hand. */
const venvProgram = /(?<=^|[\s"'])(?:[\w.@+~$/-]*\/)?(?:[\w-]*venv[\w-]*|\.venv)\/bin\/(\w[\w.-]*)/g;
const hasHome = /\/data\/project\/|(?:^|[\s"'=])~\/|\$\{?HOME\b/;

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
  const moved: string[] = [];
  const lost: string[] = [];
  const changed: Component[] = [];
  for (const component of components) {
    const { name, settings = {} } = component;
    const script = settings.healthCheckScript;
    const command = await inRepository(source, component.command);
    const healthCheckScript = script === undefined ? script : await inRepository(source, script);
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

async function inRepository(source: string, command: string): Promise<string> {
  let text = command;
  for (const [path, program = ''] of command.matchAll(venvProgram)) {
    const isInSource = !/^[~$/]/.test(path) && (await hasEntry(source, path.split('/')));
    if (!isInSource) text = text.replace(path, () => program);
  }
  for (const [path] of text.matchAll(homePath)) {
    const parts = path
      .replace(/^\/data\/project\/[\w.-]+|^~|^\$\{?HOME\}?/, '')
      .split('/')
      .slice(1);
    for (const index of parts.keys()) {
      const rest = parts.slice(index);
      if (rest.some((part) => part === '.' || part === '..') || !(await hasEntry(source, rest))) continue;
      text = text.replace(path, () => `./${rest.join('/')}`);
      break;
    }
  }
  return text;
}

function list(names: readonly string[]): string {
  return `${names.slice(0, 10).join(', ')}${names.length > 10 ? ', …' : ''}`;
}
