import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Figure } from './figure.ts';
import { buildOutput } from './figures/build-output.ts';
import { clusterBuilds } from './figures/cluster-builds.ts';
import { clusterFlask } from './figures/cluster-flask.ts';
import { clusterLanguages } from './figures/cluster-languages.ts';
import { fiftyPushes } from './figures/fifty-pushes.ts';
import { firstLine } from './figures/first-line.ts';
import { flask, flaskApt } from './figures/flask.ts';
import { httpClone } from './figures/http-clone.ts';
import { httpPush } from './figures/http-push.ts';
import { languageBuilds } from './figures/languages.ts';
import { largeSsh } from './figures/large-ssh.ts';
import { lineDelay } from './figures/line-delay.ts';
import { pushMemory } from './figures/push-memory.ts';
import { clusterRollback, rollback } from './figures/rollback.ts';
import { sshPush } from './figures/ssh-push.ts';
import { start } from './figures/start.ts';
import { describeCommit, describeMachine, load } from './machine.ts';
import { lineOf, type Measured, page, table } from './table.ts';

const root = resolve(import.meta.dirname, '..');

const figures: readonly Figure[] = [
  sshPush,
  httpPush,
  firstLine,
  largeSsh,
  fiftyPushes,
  buildOutput,
  lineDelay,
  flask,
  flaskApt,
  rollback,
  languageBuilds,
  start,
  httpClone,
  pushMemory,
  clusterFlask,
  clusterLanguages,
  clusterRollback,
  clusterBuilds,
];

const pages = [
  { file: 'docs/benchmarks.md', title: 'Measurements', isOnCluster: false },
  { file: 'docs/benchmarks-cluster.md', title: 'Measurements on a cluster', isOnCluster: true },
];

const USAGE = `npm run bench -- [--quick] [--markdown] [FIGURE …]

  --quick      fewer rounds: to see that it runs, not to quote
  --markdown   write docs/benchmarks.md and, for what needs a cluster, docs/benchmarks-cluster.md

${figures.map(({ name, title }) => `  ${name.padEnd(14)}${title}\n`).join('')}`;

/** Measures the chosen figures, one after the other. @returns the exit status: 1 if a figure could not be measured. */
async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { quick: { type: 'boolean' }, markdown: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  const unknown = positionals.filter((name) => figures.every((figure) => figure.name !== name));
  if (values.help === true || unknown.length > 0) {
    say(unknown.length > 0 ? `There is no figure ${unknown.join(', ')}.\n\n${USAGE}` : USAGE);
    return unknown.length > 0 ? 2 : 0;
  }
  const chosen = figures.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const machine = await describeMachine();
  const loadBefore = load();
  say(
    `${machine.processor}, ${machine.memory}, ${machine.kernel}\n${machine.versions}\nload ${loadBefore}\n\n`,
  );
  const { measured, hasFailed } = await measureAll(chosen, values.quick ?? false);
  say(`\n${table(measured)}`);
  if (values.markdown === true) {
    const date = new Date().toISOString().slice(0, 10);
    const facts = {
      machine,
      commit: await describeCommit(root),
      date,
      load: `${loadBefore}, ${load()}`,
    };
    for (const { file, title, isOnCluster } of pages) {
      const those = measured.filter(
        ({ figure, rows }) => (figure.isOnCluster ?? false) === isOnCluster && rows.length > 0,
      );
      if (those.length > 0) await writeFile(resolve(root, file), page(those, title, facts));
    }
  }
  return hasFailed ? 1 : 0;
}

async function measureAll(
  chosen: readonly Figure[],
  isQuick: boolean,
): Promise<{ measured: Measured[]; hasFailed: boolean }> {
  const measured: Measured[] = [];
  let hasFailed = false;
  for (const figure of chosen) {
    say(`-----> ${figure.name}: ${figure.title} (load ${load()})\n`);
    try {
      const rows = await figure.run({ isQuick, say: (text) => say(`       ${text}\n`) });
      for (const row of rows) say(`       ${lineOf(row)}\n`);
      measured.push({ figure, rows });
    } catch (error) {
      hasFailed = true;
      say(` !     ${figure.name} did not run: ${error instanceof Error ? error.stack : String(error)}\n`);
    }
  }
  return { measured, hasFailed };
}

function say(text: string): void {
  process.stdout.write(text);
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
