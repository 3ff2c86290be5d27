import { enableCompileCache, flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { DeployError } from './core/errors.ts';
import { sentence } from './core/text/sentence.ts';
import type { RunningServer } from './server.ts';
import { accountName, defaultDataFolder, homeFolder, STARTED_BY, setStartedBy } from './settings/account.ts';

// The environment variables that stay in `process.env`. A library may pass all of them to a child process. None of them
// is a secret, and none gives options or code to node, git or a shell, as NODE_OPTIONS and BASH_ENV do.
const kept = new Set([
  ...['PATH', 'LANG', 'TZ', 'TMPDIR'],
  // Keep the variables by which the server finds the cluster.
  ...['KUBECONFIG', 'KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'],
]);

// If the server has lost its claim to be the only server of the installation, it immediately stops accepting pushes.
// Running pushes have this many milliseconds to end.
const LOST_STOP_MS = 10_000;

/** Starts the server with the settings of the environment. When the server has ended, ends the process. */
export async function main(): Promise<void> {
  try {
    const { TOOLFORGE_PUSH_CONFIG: file, TOOLFORGE_PUSH_DATA: folder, [STARTED_BY]: startedBy } = process.env;
    if (startedBy !== undefined) setStartedBy(startedBy);
    delete process.env[STARTED_BY];
    // Begin to cache compiled modules as early as possible. The cache is in the data folder. If there is no
    // configuration file, the path of this folder is known before the settings are read.
    if (file === undefined && folder !== '') cacheCompiled(folder ?? defaultDataFolder());
    const { readConfig, unknownSettings } = await import('./config.ts');
    const config = readConfig(process.env);
    if (process.getuid?.() !== 0) await (await import('./tool-users.ts')).giveToolsUsers(config, process.env);
    cacheCompiled(config.data);
    const [{ startServer }, { claimInstallation }, { createLog }] = await Promise.all([
      import('./server.ts'),
      import('./claim-installation.ts'),
      import('./core/log/log.ts'),
    ]);
    const unknown = unknownSettings(process.env);
    const owner = { userName: accountName(), homeFolder: homeFolder() };
    for (const name of Object.keys(process.env)) if (!kept.has(name)) delete process.env[name];
    const log = createLog(config.log_level);
    if (unknown.length > 0) log.warn({ names: unknown }, 'unknown settings in the environment');
    const tell = (text: string): void => void process.stderr.write(text);
    let running: RunningServer | null = null;
    let isStopping = false;
    const onLost = (why: DeployError): void => {
      log.error(factsOf(why), 'the server ends, because it has lost its Lease');
      if (running === null) process.exit(1);
      setTimeout(() => process.exit(1), LOST_STOP_MS);
      void running.close().finally(() => process.exit(1));
    };
    const claim = await claimInstallation({ config, log, onLost });
    const starting = startServer({
      config,
      log,
      owner,
      pod: claim?.pod ?? null,
      path: process.env['PATH'] ?? '/usr/bin:/bin',
      tell,
    });
    // Handle the signals before the server has started, so that a signal during the start also ends the server cleanly.
    const stop = (signal: NodeJS.Signals): void => {
      // Ignore a second signal. Ctrl-C may send the signal twice: once from the terminal, and once from npx.
      if (isStopping) return;
      isStopping = true;
      log.info({ signal }, 'stopping');
      void starting.then(async (server) => {
        await server.close();
        await claim?.release();
        if (config.runtime === 'local') tell('Stopped. Your tools are down until the next start.\n');
        process.exit(0);
      }, waitForTheFault);
    };
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, stop);
    running = await starting;
    // Write the cache of compiled modules now. By itself, Node writes the cache only when the process exits, and not if
    // the process is killed.
    flushCompileCache();
  } catch (given) {
    const { diskFault } = await import('./recovery/disk-fault.ts');
    const error = diskFault(given);
    const { createLog } = await import('./core/log/log.ts');
    // In a cluster, also log the error, because nobody is at a terminal, and operators look for errors in the log.
    if (error instanceof DeployError && process.env['KUBERNETES_SERVICE_HOST'] !== undefined)
      createLog('error').error(factsOf(error), 'the server cannot start');
    process.stderr.write(explain(error));
    process.exit(1);
  }
}

/** Called if the start fails after a signal. Does nothing, because `main` reports the error and ends the process. */
function waitForTheFault(): void {}

/**
 * Caches compiled modules in the data folder, because compiling takes a third of the time of a start. Only the first
 * call has an effect. If NODE_COMPILE_CACHE names a folder, no call has an effect.
 */
function cacheCompiled(data: string): void {
  enableCompileCache(join(data, 'compile-cache'));
}

function factsOf({ code, message, hint }: DeployError): Record<string, string> {
  return { code, why: message, hint };
}

function explain(error: unknown): string {
  if (error instanceof DeployError)
    return ` !     ${error.code}: ${sentence(error.message)}\n !     ${error.hint}\n`;
  return ` !     The server could not start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
}

if (import.meta.main) {
  if (process.argv.length > 2) {
    process.stderr.write(
      ' !     The server takes no arguments: its settings come from the environment and the configuration file (docs/configuration.md).\n' +
        ' !     For commands, type: npx toolforge-push help\n',
    );
    process.exit(2);
  }
  await main();
}
