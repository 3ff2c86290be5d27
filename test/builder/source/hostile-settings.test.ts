import assert from 'node:assert/strict';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readOwnBuildpacks } from '../../../src/builder/buildpack-api/own-buildpacks.ts';
import { otherLanguage } from '../../../src/builder/other-languages.ts';
import { readAppJson } from '../../../src/builder/source/app-json.ts';
import { assertRunnable, requestedProcesses } from '../../../src/builder/source/components.ts';
import { overlookedFiles } from '../../../src/builder/source/overlooked-files.ts';
import { rewriteAsUtf8 } from '../../../src/builder/source/plain-text.ts';
import { prepareSource } from '../../../src/builder/source/prepared-source.ts';
import { readProcfile } from '../../../src/builder/source/procfile.ts';
import { readProjectToml } from '../../../src/builder/source/project-toml.ts';
import { readServiceTemplate } from '../../../src/builder/source/toolforge/service-template.ts';
import { readToolforgeYaml } from '../../../src/builder/source/toolforge/toolforge-yaml.ts';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { progressTo } from '../../../src/core/progress.ts';
import { tool } from '../support/build-request.ts';

const made: string[] = [];
after(async () => {
  for (const folder of made) await removeTree(folder);
});

async function sourceOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hostile-'));
  made.push(folder);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

const toolforge = async (text: string) =>
  await readToolforgeYaml(await sourceOf({ 'toolforge.yaml': text }), {
    tool: tool('wikibot'),
    mostScheduled: 3,
  });

/** The processor time, in milliseconds, that the main thread uses during `work`. */
async function cpuMs(work: () => unknown): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

test('threat 36: looking at 12,000 files at the top of a source takes the server less than 2 seconds of processor time', async () => {
  const names = Array.from({ length: 12_000 }, (_, index) => `data-${index}.dat`);
  const source = await sourceOf({});
  const ms = await cpuMs(async () => {
    assert.deepEqual(await overlookedFiles(source, names), []);
    assert.equal(otherLanguage(names), null);
  });
  assert.ok(ms < 2000, `${ms} ms`);
});

test('threat 36: a thousand files with misspelt names cause at most 30 warnings', async () => {
  const names = Array.from({ length: 1000 }, (_, index) => `Procfile${'-'.repeat(index % 200)}.txt`);
  assert.ok((await overlookedFiles(await sourceOf({}), names)).length <= 30);
});

test('threat 66: rewriting a file of a million empty lines as UTF-8 takes less than 25 ms more processor time than rewriting one line of the same size', async () => {
  const source = await sourceOf({ 'requirements.txt': '\n'.repeat(1024 * 1024 - 1) });
  const idle = await sourceOf({ 'requirements.txt': 'x'.repeat(1024 * 1024 - 1) });
  await rewriteAsUtf8(idle, ['requirements.txt']);
  const plain = await cpuMs(() => rewriteAsUtf8(idle, ['requirements.txt']));
  const lines = await cpuMs(() => rewriteAsUtf8(source, ['requirements.txt']));
  assert.ok(lines < plain + 25, `${lines} ms, ${plain} ms`);
});

test('threat 66: a Procfile command of 60,000 characters that begins with a quote is checked in less than half a second', async () => {
  const source = await sourceOf({ Procfile: `web: "${' a'.repeat(30_000)}` });
  const ms = await cpuMs(() => readProcfile(source));
  assert.ok(ms < 500, `${ms} ms`);
});

test('threat 66: twenty long commands in toolforge.yaml that repeat the word venv are read in less than 300 ms', async () => {
  const shared = Array.from({ length: 19 }, (_, index) => `  b${index}:\n    run: {command: *c}\n`).join('');
  const text = `components:\n  a:\n    run:\n      command: &c ${'venv'.repeat(2000)}\n${shared}`;
  const ms = await cpuMs(() => toolforge(text));
  assert.ok(ms < 300, `${ms} ms`);
});

test('threat 66: twenty commands in toolforge.yaml with a path of 4,000 folders are read in less than 400 ms', async () => {
  const shared = Array.from({ length: 19 }, (_, index) => `  b${index}:\n    run: {command: *c}\n`).join('');
  const text = `components:\n  a:\n    run:\n      command: &c ~${'/a'.repeat(4000)}\n${shared}`;
  const ms = await cpuMs(() => toolforge(text));
  assert.ok(ms < 400, `${ms} ms`);
});

test('threat 66: a path in toolforge.yaml or project.toml with a name that no file system accepts causes no internal error', async () => {
  const long = 'a'.repeat(300);
  const { components } = await toolforge(`components:\n  a:\n    run:\n      command: ~/${long}\n`);
  assert.equal(components[0]?.command, `~/${long}`);
  for (const uri of [long, 'a\\u0000b']) {
    const named = await sourceOf({ 'project.toml': `[[io.buildpacks.group]]\nuri = "${uri}"\n` });
    assert.match((await readOwnBuildpacks(named)).warnings.join(), /This name has no effect/);
  }
  const path = await sourceOf({ 'project.toml': `[[io.buildpacks.group]]\nuri = "./${long}"\n` });
  await assert.rejects(readOwnBuildpacks(path), { code: 'BAD_BUILDPACK' });
});

test('threat 66: a table in the place of a text in project.toml or service.template causes no internal error', async () => {
  const table = '{toString = 1}';
  const source = await sourceOf({
    'project.toml': `[io.buildpacks]\nexclude = [${table}]\n[[io.buildpacks.build.env]]\nname = "A"\nvalue = ${table}\n`,
    'service.template': 'extra_args: [{toString: 1}]\n',
  });
  const { buildVariables, exclude, warnings } = await readProjectToml(source);
  assert.deepEqual([buildVariables, exclude], [{}, []]);
  assert.match(warnings.join(), /build variable A is not used/);
  assert.equal((await readServiceTemplate(source)).command, null);
});

test('threat 66: a project.toml of 60 kB, with one key of thousands of parts, is refused as too large', async () => {
  const source = await sourceOf({ 'project.toml': `${'a.'.repeat(30_000)}a = 1` });
  await assert.rejects(readOwnBuildpacks(source), { code: 'BUILD_PROJECT_TOML', message: /larger than/ });
});

test('threat 66: a value with a NUL in app.json is refused, because no process can get it', async () => {
  const source = await sourceOf({ 'app.json': JSON.stringify({ env: { A: { value: 'x\0y' } } }) });
  await assert.rejects(readAppJson(source), { code: 'BUILD_APP_JSON', message: /^A below env/ });
});

test('threat 66: a formation of 101 process types in app.json is refused', async () => {
  const types = Array.from({ length: 101 }, (_, index) => [`t${index}`, { quantity: 1 }]);
  const source = await sourceOf({ 'app.json': JSON.stringify({ formation: Object.fromEntries(types) }) });
  await assert.rejects(readAppJson(source), { code: 'BUILD_APP_JSON', message: /has 101 process types/ });
});

test('threat 60: a tool with more than 200 process types is refused, and a warning about so many types has less than 400 characters', () => {
  const built = Array.from({ length: 201 }, (_, index) => ({
    ...{ type: `t${index}`, command: ['x'], isDefault: false },
  }));
  const warnings: string[] = [];
  const { processes } = requestedProcesses(
    built,
    { components: [], formation: { other: 1 }, template: { settings: {}, command: null } },
    (text) => warnings.push(text),
  );
  assert.ok((warnings[0] ?? '').length < 400, warnings[0]);
  assert.throws(() => assertRunnable(processes, 20), { code: 'TOO_MANY_PROCESSES', message: /201/ });
  assertRunnable(processes.slice(1), 20);
});

test('threat 60: a tool is refused if its commands and health check scripts have more than 32 KiB together, because each release keeps them', () => {
  const processes = Array.from({ length: 5 }, (_, index) => ({
    ...{ type: `t${index}`, command: ['x'], isDefault: false },
    settings: { healthCheckScript: 'x'.repeat(8192) },
  }));
  assert.throws(() => assertRunnable(processes, 20), { code: 'COMMANDS_TOO_LONG' });
});

test('threat 55: of thousands of warnings about a source, a hundred are shown, and then the number of warnings that are not shown', async () => {
  const folder = join(await sourceOf({}), 'workspace');
  const checkOut = async () => {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'Procfile'), `${'!\n'.repeat(5000)}${'A'.repeat(5000)}: x\n`);
  };
  const request = { checkOut, tool: tool('wikibot'), toolNumber: 1, configVars: {}, mostScheduled: 3 };
  const signal = AbortSignal.timeout(60_000);
  const { warnings } = await prepareSource(
    request,
    folder,
    progressTo(() => {}),
    signal,
  );
  assert.equal(warnings.length, 101);
  assert.match(warnings.at(-1) ?? '', /^4901 more warnings are not shown\.$/);
});

test('threat 66: the server rewrites a command of jobs.yaml in the same way whether or not a file outside of the repository exists', async () => {
  const top = await sourceOf({});
  const source = join(top, 'source');
  for (const folder of ['source/a', 'other/venv/bin']) await mkdir(join(top, folder), { recursive: true });
  for (const file of ['venv/bin/there', 'there.sh']) await writeFile(join(top, 'other', file), '');
  for (const name of ['there', 'missing']) {
    const commands = [`x ../other/venv/bin/${name}`, `x a/../../other/${name}.sh`];
    const jobs = commands.map(
      (command, index) =>
        `- {name: j${index}, image: python3.11, schedule: "@daily", command: "${command}"}\n`,
    );
    await writeFile(join(source, 'jobs.yaml'), jobs.join(''));
    await writeFile(join(source, `${name}.sh`), '');
    const { components } = await readToolforgeYaml(source, { tool: tool('wikibot'), mostScheduled: 3 });
    assert.deepEqual(
      components.map(({ command }) => command),
      [`x ${name}`, `x ./${name}.sh`],
    );
  }
});
