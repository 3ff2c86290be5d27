import assert from 'node:assert/strict';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import {
  assertRunnable,
  type Component,
  type ProcessRequests,
  requestedProcesses,
} from '../../../src/builder/source/components.ts';
import { readToolforgeYaml } from '../../../src/builder/source/toolforge/toolforge-yaml.ts';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { DeployError } from '../../../src/core/errors.ts';
import type { Process } from '../../../src/core/types.ts';
import { tool } from '../support/build-request.ts';

const made: string[] = [];
after(async () => {
  for (const folder of made) await removeTree(folder);
});

async function read(text: string, name = 'toolforge.yaml', mostScheduled = 3) {
  const folder = await mkdtemp(join(tmpdir(), 'toolforge-yaml-'));
  made.push(folder);
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), text);
  return await readToolforgeYaml(folder, { tool: tool('wikibot'), mostScheduled });
}

const one = (run: string, kind = 'scheduled', name = 'update') =>
  `config_version: v1beta1\ncomponents:\n  ${name}:\n    component_type: ${kind}\n    run: {${run}}\n`;
const scheduled = (run: string) => one(`command: ./update, schedule: "1 2 * * *", ${run}`);

describe('the components of toolforge.yaml', () => {
  test('a scheduled component of toolforge.yaml is read with its schedule, command and limits', async () => {
    const { components, warnings } = await read(
      one('command: "launcher python3 update.py --all", schedule: " 0  3 * * sun ", retry: 2, timeout: 180'),
    );
    assert.deepEqual(components, [
      {
        name: 'update',
        command: 'python3 update.py --all',
        schedule: { text: '0 3 * * sun', cron: '0 3 * * 0', retry: 2, timeoutSeconds: 180 },
        settings: {},
        isPublished: false,
      },
    ]);
    assert.deepEqual(warnings, []);
  });

  test('jobs are also read from .toolforge/jobs.yaml, .toolforge/cronjobs.yaml and cronjobs.yaml', async () => {
    for (const name of ['.toolforge/jobs.yaml', '.toolforge/cronjobs.yaml', 'cronjobs.yaml']) {
      const { components } = await read('- {name: update, command: ./update, schedule: "@daily"}', name);
      assert.deepEqual(
        components.map((component) => component.name),
        ['update'],
        name,
      );
    }
  });

  test('a schedule such as @daily is shown as it is written in toolforge.yaml', async () => {
    const [component] = (await read(one('command: update, schedule: "@daily"'))).components;
    assert.equal(component?.schedule?.text, '@daily');
    assert.match(component?.schedule?.cron ?? '', /^\d+ \d+ \* \* \*$/);
    assert.equal(component?.schedule?.timeoutSeconds, null);
  });

  test('the example in Toolforge’s documentation of toolforge.yaml causes no warnings', async () => {
    const { components, warnings } = await read(`
config_version: "v1beta1"
components:
  component1:
    component_type: continuous
    build: {repository: "https://example.org/x", ref: main}
    run: {command: web, port: 8000, publish: "/", health_check_http: /healthz, replicas: 2, cpu: 500m, memory: 256Mi, mount: none, emails: none, filelog: false}
  cron1:
    component_type: scheduled
    build: {reuse_from: component1}
    run: {schedule: "@daily", command: web, mount: none}
`);
    assert.deepEqual(warnings, []);
    const { replicas, settings } = components[0] ?? {};
    assert.equal(replicas, 2);
    assert.deepEqual(settings, {
      ...{ port: 8000, healthCheckPath: '/healthz', cpuCores: 0.5 },
      memoryBytes: 256 * 1024 * 1024,
    });
    assert.deepEqual(
      components.map(({ name, isPublished }) => [name, isPublished]),
      [
        ['component1', true],
        ['cron1', false],
      ],
    );
  });

  for (const { name, text, file, warning } of [
    { name: 'keys that are not known', text: 'colour: red\n', warning: /contains unknown keys: colour/ },
    {
      name: 'another spelling of the file’s name',
      text: '',
      file: 'toolforge.yml',
      warning: /rename it to toolforge\.yaml/,
    },
    {
      name: 'mount and emails of a scheduled component',
      text: scheduled('mount: all, emails: onfailure'),
      warning: /^toolforge\.yaml: mount \(update\), emails \(update\) have no effect here\.$/,
    },
    {
      name: 'the health check path of a worker',
      text: one('command: ./work, replicas: 2, health_check_http: /', 'continuous', 'work'),
      warning: /^toolforge\.yaml: health_check_http \(work\) has no effect here\.$/,
    },
    {
      name: 'replicas that are no number',
      text: one('command: ./work, replicas: two', 'continuous', 'work'),
      warning: /^replicas of work in toolforge\.yaml: two is not used: .* \(line 5\)\.$/,
    },
    {
      name: 'memory that is no quantity',
      text: one('command: web, memory: lots', 'continuous'),
      warning: /^memory of update .*512Mi/,
    },
  ]) {
    test(`a part of toolforge.yaml that is not used causes a warning: ${name}`, async () => {
      const { warnings } = await read(text, file);
      assert.match(warnings.join('\n'), warning);
    });
  }

  test('an empty toolforge.yaml and a source_url cause no warning', async () => {
    for (const text of ['', 'source_url: https://example.org\n'])
      assert.deepEqual((await read(text)).warnings, []);
  });
});

test('a continuous component of toolforge.yaml that is not published runs as many processes as its key `replicas` says', async () => {
  const { components } = await read(one('command: ./work, replicas: 2', 'continuous', 'work'));
  assert.deepEqual([components[0]?.replicas, components[0]?.isPublished], [2, false]);
});

describe('a toolforge.yaml that is refused', () => {
  for (const { name, text, message, hint } of [
    {
      name: 'a file that is not YAML',
      text: 'components: [',
      message: /not valid YAML/,
      hint: /schedule: "@daily"/,
    },
    {
      name: 'a file of 17 kB',
      text: `# ${'x'.repeat(17_000)}`,
      message: /larger than 16 kB/,
      hint: /smaller/,
    },
    {
      name: 'components that are a list',
      text: 'components: [a]\n',
      message: /has no list of components below `components:`/,
    },
    { name: 'a component that is a word', text: 'components: {update: hello}\n', message: /update .*`run`/ },
    {
      name: 'a component without `run`',
      text: 'components: {update: {component_type: scheduled}}\n',
      message: /no `run`/,
    },
    {
      name: 'an unknown component_type',
      text: one('command: x', 'one-off'),
      message: /one-off/,
      hint: /scheduled/,
    },
    {
      name: 'a component without a command',
      text: one('schedule: "@daily"'),
      message: /update in toolforge\.yaml has no command/,
    },
    {
      name: 'a command that is a list',
      text: one('command: [a], schedule: "@daily"'),
      message: /no command/,
    },
    {
      name: 'a command that is only the launcher',
      text: one('command: "launcher ", schedule: "@daily"'),
      message: /^/,
    },
    {
      name: 'a command of two lines',
      text: one('command: "a\\nb", schedule: "@daily"'),
      message: /control character/,
    },
    {
      name: 'a scheduled component without a schedule',
      text: one('command: x'),
      message: /no schedule/,
      hint: /"@daily"/,
    },
    {
      name: 'a schedule that is a number',
      text: one('command: x, schedule: 5'),
      message: /the schedule 5.* \(line 5\)$/,
      hint: /"@daily"/,
    },
    {
      name: 'a schedule of six fields',
      text: one('command: x, schedule: "* * * * * *"'),
      message: /five fields/,
    },
    {
      name: 'a schedule for a day that does not exist',
      text: one('command: x, schedule: "0 0 31 2 *"'),
      message: /this day does not exist/,
    },
    {
      name: 'a schedule with an unknown word',
      text: one('command: x, schedule: "@reboot"'),
      message: /@reboot.*@hourly/,
    },
    { name: 'too many retries', text: scheduled('retry: 6'), message: /retry .* 6/, hint: /0 to 5/ },
    {
      name: 'a timeout of half a second',
      text: scheduled('timeout: 0.5'),
      message: /timeout/,
      hint: /whole number/,
    },
    {
      name: 'a component with a space in its name',
      text: one('command: x', 'scheduled', 'Up date'),
      message: /Up date/,
    },
    {
      name: 'a component with a name of 53 characters',
      text: one('command: x', 'scheduled', 'a'.repeat(53)),
      message: /the name of the component .* is not valid/,
    },
    {
      name: 'a scheduled component with the name web',
      text: one('command: x, schedule: "@daily"', 'scheduled', 'web'),
      message: /`web` gets the requests .* and runs all the time/,
    },
    {
      name: 'a component with the name release',
      text: one('command: x', 'continuous', 'release'),
      message: /before each release/,
    },
    {
      name: 'two components that get the requests',
      text: 'components: {a: {component_type: continuous, run: {command: web}}, web: {component_type: continuous, run: {command: x}}}\n',
      message: /more than one component for the requests of visitors: a, web/,
    },
    {
      name: 'more scheduled components than a tool may have',
      text: `components:\n${[1, 2, 3, 4].map((n) => `  c${n}: {component_type: scheduled, run: {command: x, schedule: "@daily"}}\n`).join('')}`,
      message: /4 scheduled components, but at most 3 are allowed/,
      hint: /scheduled_processes/,
    },
    {
      name: 'a component with the name __proto__',
      text: one('command: x', 'scheduled', '__proto__'),
      message: /is not valid|no `run`/,
    },
  ]) {
    test(`toolforge.yaml is refused, and the error says why and what to write instead: ${name}`, async () => {
      await assert.rejects(read(text), (error: unknown) => {
        assert.ok(error instanceof DeployError, String(error));
        assert.equal(error.code, 'BUILD_TOOLFORGE_YAML');
        assert.match(error.message, message);
        assert.match(error.hint, hint ?? /./);
        return true;
      });
    });
  }
});

describe('the processes of an artifact', () => {
  const process = (type: string): Process => ({ type, command: ['run', type], isDefault: type === 'web' });
  const component = (name: string, command: string, isScheduled = true): Component => ({
    name,
    command,
    schedule: isScheduled ? schedule : null,
    isPublished: command === 'web',
  });
  const schedule = { text: '@daily', cron: '1 2 * * *', retry: 0, timeoutSeconds: null };
  const merge = (
    types: readonly string[],
    components: readonly Component[],
    requests: Partial<ProcessRequests> = {},
  ) => {
    const warnings: string[] = [];
    const { processes, service } = requestedProcesses(
      types.map(process),
      { formation: {}, template: { settings: {}, command: null }, ...requests, components },
      (text) => warnings.push(text),
    );
    const counts = processes.map(({ type, replicas }) => `${type}=${replicas ?? '-'}`).join(' ');
    return { processes, service, warnings, types: processes.map(({ type }) => type), counts };
  };

  test('the command of a component in toolforge.yaml runs in a shell if it is not a process type', () => {
    const { processes, warnings } = merge([], [component('update', 'python3 update.py && echo done')]);
    assert.deepEqual(warnings, []);
    assert.deepEqual(processes, [
      {
        type: 'update',
        command: ['bash', '-c', 'python3 update.py && echo done'],
        isDefault: false,
        launchedAs: null,
        schedule,
      },
    ]);
  });

  test('a process type that a scheduled component names runs on the schedule under the component’s name, and stays a named command', () => {
    const { processes, counts } = merge(['web', 'sync'], [component('nightly', 'sync')]);
    assert.equal(counts, 'nightly=- sync=0 web=-');
    assert.deepEqual(processes[0], {
      type: 'nightly',
      command: ['run', 'sync'],
      isDefault: false,
      launchedAs: 'sync',
      schedule,
    });
  });

  for (const { name, built, components, types } of [
    {
      name: 'web stays if a scheduled component runs it',
      built: ['web'],
      components: [component('a', 'web')],
      types: ['a', 'web'],
    },
    {
      name: 'release stays if a scheduled component runs it',
      built: ['release'],
      components: [component('a', 'release')],
      types: ['a', 'release'],
    },
    {
      name: 'a process type that a continuous component names keeps its own name',
      built: ['sync'],
      components: [component('a', 'sync'), component('b', 'sync', false)],
      types: ['a', 'sync'],
    },
    {
      name: 'a component takes the place of the process type of the same name',
      built: ['sync'],
      components: [component('sync', 'sync')],
      types: ['sync'],
    },
    {
      name: 'without components, the process types of the build, sorted',
      built: ['b', 'a'],
      components: [],
      types: ['a', 'b'],
    },
  ]) {
    test(`an artifact gets its process types from the build and the components: ${name}`, () =>
      assert.deepEqual(merge(built, components).types, types));
  }

  for (const { name, built, components = [], formation = {}, replicas, counts } of [
    {
      name: 'only web and release start by themselves',
      built: ['web', 'worker', 'migrate', 'release'],
      counts: 'migrate=0 release=- web=- worker=0',
    },
    {
      name: 'a continuous component keeps its process type running',
      built: ['web', 'worker'],
      components: [component('jobs', 'worker', false)],
      counts: 'web=- worker=1',
    },
    {
      name: 'a continuous component with a command of its own runs',
      built: ['web'],
      components: [component('jobs', 'python3 jobs.py', false)],
      counts: 'jobs=1 web=-',
    },
    {
      name: 'a continuous component with a number of processes',
      built: ['web', 'worker'],
      components: [{ ...component('jobs', 'worker', false), replicas: 3 }],
      counts: 'web=- worker=3',
    },
    {
      name: 'the process type that a published component names runs as web',
      built: ['serve'],
      components: [{ ...component('site', 'serve', false), isPublished: true }],
      counts: 'serve=0 web=-',
    },
    {
      name: 'formation keeps process types running',
      built: ['web', 'worker'],
      formation: { web: 2, worker: 1 },
      counts: 'web=2 worker=1',
    },
    {
      name: 'toolforge.yaml and service.template win over formation',
      built: ['web', 'worker'],
      components: [component('jobs', 'worker', false)],
      formation: { web: 2, worker: 4 },
      replicas: 3,
      counts: 'web=- worker=1',
    },
  ]) {
    test(`the artifact says how many processes of each type run: ${name}`, () => {
      const settings = replicas === undefined ? {} : { replicas };
      const merged = merge(built, components, { formation, template: { settings, command: null } });
      assert.equal(merged.counts, counts);
      assert.deepEqual(merged.warnings, []);
    });
  }

  test('a process type in formation of app.json that the tool does not have causes a warning', () => {
    const { warnings } = merge(['web', 'worker'], [], { formation: { workr: 1 } });
    assert.deepEqual(warnings, [
      'formation in app.json: workr is not used, because the build has no process type of this name that can be kept running (it has web, worker).',
    ]);
  });

  test('the command of the component that toolforge.yaml publishes is the web process', () => {
    const published = { ...component('site', 'gunicorn app:app', false), isPublished: true };
    const { processes } = merge([], [published]);
    assert.deepEqual([processes[0]?.type, processes[0]?.schedule], ['web', undefined]);
  });

  test('a command of one word in toolforge.yaml that is not a process type of the build causes a warning', () => {
    const { warnings } = merge(['web', 'sync'], [component('nightly', 'snyc')]);
    assert.match(
      warnings.join('\n'),
      /snyc\. The build has no process type of this name \(it has web, sync\).*program snyc/,
    );
  });
});

test('threat 66: a toolforge.yaml that is slow to parse is parsed in another thread than the server’s own', async () => {
  const before = { all: process.cpuUsage(), main: process.threadCpuUsage() };
  await assert.rejects(read(`[${','.repeat(16_000)}`), /is not valid YAML/);
  const all = process.cpuUsage(before.all);
  const main = process.threadCpuUsage(before.main);
  assert.ok(main.user + main.system < (all.user + all.system) / 2, JSON.stringify({ all, main }));
});

test('threat 66: a long command that many scheduled components share is refused, because each release keeps all copies', () => {
  const web = (command: string) => ({ type: 'web', command: ['bash', '-c', command], isDefault: true });
  const schedule = { text: '@daily', cron: '0 0 * * *' } as Component['schedule'];
  const nightly = Array.from({ length: 20 }, (_, index) => ({
    ...{ name: `job-${index}`, command: 'web', schedule, isPublished: false },
  }));
  const bytes = 1500;
  const processes = (count: number) =>
    requestedProcesses(
      [web('x'.repeat(count))],
      { components: nightly, formation: {}, template: { settings: {}, command: null } },
      assert.fail,
    ).processes;
  assertRunnable(processes(bytes), 20);
  assert.throws(() => assertRunnable(processes(bytes * 2), 20), {
    code: 'COMMANDS_TOO_LONG',
    message: /at most 32768 are allowed/,
  });
});
