import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { LABELS } from '../../../src/run/kubernetes/manifests/object-names.ts';
import { checkOut } from '../../contracts/builder.ts';
import { failingRollOut, logOf, releaseOf, rollOut, textOf, until } from '../../run/contract-steps.ts';
import { everyMinute, politeWorker, worker } from '../../run/tool-sources.ts';
import { AClusterBuilder } from '../builder/a-cluster-builder.ts';
import { kubectl } from '../installation/kubectl.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

/** A process that runs until SIGTERM. */
const slow = `
import os, signal, sys, time
def leave(*_): print('goodbye', flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print('ready', os.environ['WORD'], flush=True)
time.sleep(1000)
`;
/** Not due while a test runs. `startNow` starts its runs. */
const yearly = { text: '@yearly', cron: '7 7 29 2 *' };

describe('schedules on a cluster', { concurrency: 1 }, () => {
  let bench: ClusterBench;
  before(async () => {
    bench = await clusterBench({ config: { drain_time: 0, schedule_time: 600_000 } });
  });
  after(() => bench.close());

  const namespaceOf = (tool: string) => `${bench.prefix}${tool}`;
  const cronJobsOf = async (tool: string) =>
    (await bench.cluster.batch.listNamespacedCronJob({ namespace: namespaceOf(tool) })).items;
  const jobsOf = async (tool: string) =>
    (await bench.cluster.batch.listNamespacedJob({ namespace: namespaceOf(tool) })).items;
  const secretsOf = async (tool: string) =>
    (await bench.cluster.core.listNamespacedSecret({ namespace: namespaceOf(tool) })).items;

  /**
   * Starts a run of a CronJob now, as `kubectl create job --from` does.
   *
   * @see https://github.com/kubernetes/kubectl/blob/v0.35.0/pkg/cmd/create/create_job.go
   */
  async function startNow(tool: string, name: string, cronJobName = 'push-update'): Promise<void> {
    const cronJob = (await cronJobsOf(tool)).find(({ metadata }) => metadata?.name === cronJobName);
    assert.ok(cronJob !== undefined);
    const template = cronJob.spec?.jobTemplate;
    await bench.cluster.batch.createNamespacedJob({
      namespace: namespaceOf(tool),
      body: {
        metadata: {
          name,
          labels: template?.metadata?.labels ?? {},
          annotations: { 'cronjob.kubernetes.io/instantiate': 'manual' },
          ownerReferences: [
            {
              apiVersion: 'batch/v1',
              kind: 'CronJob',
              name: cronJob.metadata?.name ?? '',
              uid: cronJob.metadata?.uid ?? '',
              controller: true,
            },
          ],
        },
        ...(template?.spec === undefined ? {} : { spec: template.spec }),
      },
    });
  }

  test('a scheduled run outlives its release and keeps its config vars, and a stopped tool has no objects left', async () => {
    const tool = 'outlives' as ToolName;
    const { runtime } = bench;
    const timed = everyMinute('update.py', yearly);
    const files = { 'update.py': slow, 'worker.py': politeWorker };
    const artifact = { ...(await bench.artifact(files, [timed, worker()])), processes: [timed] };
    await rollOut(runtime, releaseOf(tool, 1, artifact, { WORD: 'one' }));
    await startNow(tool, 'first');
    await until(async () => (await textOf(runtime, tool, 'update')).includes('ready one'), 'the run', 60);

    await rollOut(runtime, releaseOf(tool, 2, artifact, { WORD: 'two' }));
    const [cronJob, ...others] = await cronJobsOf(tool);
    assert.deepEqual(others, []);
    assert.equal(cronJob?.metadata?.labels?.[LABELS.version], '2');
    const kept = await until(async () => {
      const found = (await secretsOf(tool)).filter(
        ({ metadata }) => metadata?.ownerReferences?.[0]?.kind === 'Job',
      );
      return found.length > 0 && found;
    }, 'the run owns the config vars');
    assert.equal(Buffer.from(kept[0]?.data?.['WORD'] ?? '', 'base64').toString(), 'one');
    assert.deepEqual(
      (await runtime.status(tool)).map(({ name, version, state }) => [name, version, state]),
      [['update.1', 2, 'up']],
    );

    await rollOut(runtime, releaseOf(tool, 3, { ...artifact, processes: [worker()] }));
    const statuses = await runtime.status(tool);
    assert.deepEqual(statuses.map(({ name, state }) => [name, state]).sort(), [
      ['update.1', 'stopping'],
      ['worker.1', 'up'],
    ]);
    await until(async () => (await cronJobsOf(tool)).length === 0, 'the CronJob to go');
    assert.equal((await jobsOf(tool)).length, 1);
    assert.equal((await logOf(runtime, tool, 'update')).length, 1);

    for (const processes of [artifact.processes, [worker()], artifact.processes]) {
      await rollOut(runtime, releaseOf(tool, 4, { ...artifact, processes }));
    }
    assert.equal((await cronJobsOf(tool))[0]?.metadata?.deletionTimestamp, undefined);
    assert.equal((await cronJobsOf(tool)).length, 1);

    await runtime.stop(tool);
    assert.deepEqual(await runtime.status(tool), []);
    await until(async () => (await jobsOf(tool)).length === 0, 'the Job to go');
    await until(async () => (await secretsOf(tool)).length === 0, 'the Secrets to go', 60);
    assert.equal(await textOf(runtime, tool, 'update'), 'ready one\ngoodbye');
    await until(
      async () => (await textOf(runtime, tool, 'push')).includes('update.1 exited with code 0'),
      'its end',
    );
  });

  test('both kinds of schedules in toolforge.yaml run: a shell line, and a process type', async () => {
    const tool = 'built' as ToolName;
    const { runtime } = bench;
    await using builder = await AClusterBuilder.open();
    const component = (command: string) =>
      `{component_type: scheduled, run: {schedule: "7 7 29 2 *", command: ${command}}}`;
    const line = `'echo "$(basename "$PWD") $WORD" && python3 say.py line'`;
    const files = {
      'say.py': 'import sys; print("said", *sys.argv[1:])',
      Procfile: 'say: python3 say.py type "$WORD"\n',
      'requirements.txt': '',
      'toolforge.yaml': `components:\n  by-line: ${component(line)}\n  by-type: ${component('say')}\n`,
    };
    const artifact = await builder.build(checkOut(files));
    await rollOut(runtime, releaseOf(tool, 1, artifact, { WORD: 'hello $(WORD)' }));
    for (const name of ['by-line', 'by-type']) await startNow(tool, name, `push-${name}`);
    const ended = async (name: string) =>
      (await textOf(runtime, tool, 'push')).includes(`${name}.1 exited with`);
    await until(async () => (await ended('by-line')) && (await ended('by-type')), 'both runs', 90);
    assert.match(await textOf(runtime, tool, 'push'), /^by-line\.1 exited with code 0 after/m);
    assert.equal(await textOf(runtime, tool, 'by-line'), 'workspace hello $(WORD)\nsaid line');
    assert.equal(await textOf(runtime, tool, 'by-type'), 'said type hello $(WORD)');
  });

  test('a restarted server finds a tool’s schedules, and the runs that happened while no server ran', async () => {
    const tool = 'away' as ToolName;
    const artifact = await bench.artifact({ 'update.py': 'print("hello")' }, [
      everyMinute('update.py', yearly),
    ]);
    const release = releaseOf(tool, 5, artifact);
    const first = bench.startAnother(tool);
    await rollOut(first, release);
    const [before] = await cronJobsOf(tool);
    await first.close();
    await startNow(tool, 'meanwhile');
    await until(async () => (await jobsOf(tool))[0]?.status?.succeeded === 1, 'the run', 60);
    const second = bench.startAnother(tool);
    await second.resume(release, 1, {});
    const [found] = await cronJobsOf(tool);
    assert.equal(found?.metadata?.uid, before?.metadata?.uid);
    assert.equal(found?.metadata?.generation, 1);
    assert.equal(found?.metadata?.labels?.[LABELS.rollout], before?.metadata?.labels?.[LABELS.rollout]);
    await until(async () => (await textOf(second, tool, 'update')) === 'hello', 'the output of the run');
    const [status] = await second.status(tool);
    assert.equal(status?.schedule?.lastRun?.exitCode, 0);
    await second.stop(tool);
    await second.resume(release, 1, {});
    assert.equal((await cronJobsOf(tool)).length, 1);
  });

  test('a scheduled run on a lost node does not block a stop of the tool for ever, nor a later push', async () => {
    const tool = 'lost-node' as ToolName;
    const { runtime } = bench;
    const artifact = await bench.artifact({ 'update.py': slow }, [everyMinute('update.py', yearly)]);
    await rollOut(runtime, releaseOf(tool, 1, artifact, { WORD: 'one' }));
    await startNow(tool, 'first');
    await until(async () => (await textOf(runtime, tool, 'update')).includes('ready one'), 'the run', 60);
    // The pod of the run stays Terminating, like the pods of a node that is lost.
    const [pod = ''] = (await kubectl('-n', namespaceOf(tool), 'get', 'pods', '-o', 'name')).split('\n');
    const held = (finalizers: string[]) =>
      kubectl(
        ...['-n', namespaceOf(tool), 'patch', pod, '--type=merge'],
        ...['-p', JSON.stringify({ metadata: { finalizers } })],
      );
    await held(['push.toolforge.org/test']);
    await runtime.stop(tool);
    await rollOut(runtime, releaseOf(tool, 2, artifact, { WORD: 'two' }));
    assert.equal((await cronJobsOf(tool))[0]?.metadata?.labels?.[LABELS.version], '2');
    await held([]);
  });

  test('a scheduled run that takes too long is ended, and a failed run is retried as often as its schedule says', async () => {
    const tool = 'limits' as ToolName;
    const { runtime } = bench;
    const long = { ...everyMinute('update.py', { ...yearly, timeoutSeconds: 6 }), type: 'long' };
    const bad = { ...everyMinute('bad.py', { ...yearly, retry: 1 }), type: 'bad' };
    const artifact = await bench.artifact({ 'update.py': slow, 'bad.py': 'raise SystemExit(1)' }, [
      long,
      bad,
    ]);
    await rollOut(runtime, releaseOf(tool, 1, artifact, { WORD: 'x' }));
    for (const name of ['long', 'bad']) await startNow(tool, name, `push-${name}`);
    const told = async () => await textOf(runtime, tool, 'push');
    await until(async () => (await told()).includes('long.1 took'), 'the limit', 60);
    assert.match(
      await told(),
      /^long\.1 took longer than 6\.0 s \(timeout in toolforge\.yaml\) and was ended$/m,
    );
    assert.equal(await textOf(runtime, tool, 'long'), 'ready x\ngoodbye');
    await until(async () => (await told()).split('bad.1 exited with code 1').length === 3, 'the retry', 60);
    const statuses = await runtime.status(tool);
    const last = statuses.find(({ name }) => name === 'long.1')?.schedule?.lastRun;
    assert.equal(last?.exitCode, null);
    assert.match(last?.detail ?? '', /^took longer/);
  });

  test('if the cluster refuses a schedule, the rollout fails, and the old schedules stay', async () => {
    const tool = 'refused' as ToolName;
    const { runtime } = bench;
    const artifact = await bench.artifact({ 'update.py': '' }, [everyMinute('update.py', yearly)]);
    await rollOut(runtime, releaseOf(tool, 1, artifact));
    const second = { ...everyMinute('update.py', yearly), type: 'second' };
    await bench.cluster.core.createNamespacedResourceQuota({
      namespace: namespaceOf(tool),
      body: { metadata: { name: 'few' }, spec: { hard: { 'count/cronjobs.batch': '1' } } },
    });
    await until(async () => {
      const { items } = await bench.cluster.core.listNamespacedResourceQuota({
        namespace: namespaceOf(tool),
      });
      return items[0]?.status?.used?.['count/cronjobs.batch'] === '1';
    }, 'the quota is counted');
    const processes = [...artifact.processes, second];
    const { error } = await failingRollOut(runtime, releaseOf(tool, 2, { ...artifact, processes }));
    assert.equal(error.code, 'QUOTA_EXCEEDED');
    assert.deepEqual(
      (await cronJobsOf(tool)).map(({ metadata }) => [metadata?.name, metadata?.labels?.[LABELS.version]]),
      [['push-update', '1']],
    );
  });
});
