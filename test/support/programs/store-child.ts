// A separate process that opens the store in a folder. Its arguments are `hold`, `write`, `fill` or `refuse`, and the
// folder. Tests read the lines that it prints.
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DeployError } from '../../../src/core/errors.ts';
import { SecretsKey } from '../../../src/store/secrets.ts';
import { SqliteStore } from '../../../src/store/sqlite-store.ts';
import { deploymentOf, releaseOf, wikibot } from '../store-records.ts';

const [mode, folder = ''] = process.argv.slice(2);

/** Writes a whole line synchronously. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

async function deployOnce(store: SqliteStore, id: string, padding = ''): Promise<number> {
  store.addDeployment(deploymentOf(id, { message: padding }));
  const { version } = store.addRelease(releaseOf(id, { configVars: { ID: id } }));
  const at = Date.now();
  await store.copyRelease(wikibot, version, at);
  store.goLive(wikibot, version, id, at);
  return version;
}

/** Makes `goLive` of a first release fail after the copy of the release was written. Prints the copied versions. */
async function refuse(store: SqliteStore): Promise<void> {
  store.addDeployment(deploymentOf('d1'));
  const other = new DatabaseSync(join(folder, 'store.sqlite'));
  other.exec(
    `CREATE TRIGGER full BEFORE UPDATE OF live_version ON tools BEGIN SELECT RAISE(ABORT, 'none'); END`,
  );
  other.close();
  store.addRelease(releaseOf('d1'));
  try {
    await store.copyRelease(wikibot, 1, 5);
    store.goLive(wikibot, 1, 'd1', 5);
  } catch {
    say(`copied ${store.copiedVersions(wikibot)}`);
  }
}

/** Writes until the disk is full, reads, deletes `ballast` to make room, and writes once more. */
async function fill(store: SqliteStore, ballast: string): Promise<void> {
  try {
    for (let index = 1; ; index++) await deployOnce(store, `d${index}`, 'x'.repeat(5000));
  } catch (error) {
    say(told(error));
  }
  say(`still live ${store.releases(wikibot, 1_000_000).find(({ state }) => state === 'live')?.version}`);
  rmSync(ballast);
  say(`live again ${(await deployOnce(store, 'again')) === store.tool(wikibot).liveVersion}`);
}

function told(error: unknown): string {
  return error instanceof DeployError ? `${error.code} ${error.message}` : String(error);
}

async function run(): Promise<void> {
  const ballast = join(folder, 'ballast');
  if (mode === 'fill') writeFileSync(ballast, Buffer.alloc(1024 * 1024));
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 7)));
  if (mode === 'fill') await fill(store, ballast);
  if (mode === 'write')
    for (let index = 1; ; index++) say(`d${index} ${await deployOnce(store, `d${index}`)}`);
  if (mode === 'refuse') await refuse(store);
  if (mode === 'hold') say('open');
  if (mode === 'hold' || mode === 'refuse') {
    setInterval(() => {}, 60_000);
  }
}

try {
  await run();
} catch (error) {
  say(told(error));
}
