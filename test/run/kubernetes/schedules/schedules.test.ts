import assert from 'node:assert/strict';
import { json } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import type { V1CronJob, V1Pod } from '@kubernetes/client-node';
import type { Process, Schedule } from '../../../../src/core/types.ts';
import { cronJobs } from '../../../../src/run/kubernetes/manifests/cron-job-manifests.ts';
import type { ManifestConfig } from '../../../../src/run/kubernetes/manifests/manifest-config.ts';
import { LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { rolloutObjects } from '../../../../src/run/kubernetes/manifests/rollout-manifests.ts';
import { type ToolPod, ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { findLiveRollout } from '../../../../src/run/kubernetes/resume/find-live-rollout.ts';
import { scheduleStatuses } from '../../../../src/run/kubernetes/schedules/schedule-status.ts';
import { ScheduledEnds } from '../../../../src/run/kubernetes/schedules/scheduled-ends.ts';
import { areSet, jobFrom, startRunNow } from '../../../../src/run/kubernetes/schedules/schedules.ts';
import type { ScheduledRun } from '../../../../src/run/runtime.ts';
import { answerJson, answerKinds, fakeApi } from '../../../kubernetes/fake-api.ts';
import { web } from '../../tool-sources.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const config: ManifestConfig = { ...manifestConfig, pod_uid: 50_000, pod_disk: 0 };
const daily: Schedule = { text: '@daily', cron: '17 3 * * *', retry: 2, timeoutSeconds: null };
const update: Process = {
  type: 'update',
  command: ['bash', '-c', 'echo $(HOME) "$USER"'],
  isDefault: false,
  launchedAs: null,
  schedule: daily,
};

const made = (...processes: Process[]) => {
  const rollout = rolloutOf(processes);
  return cronJobs({ rollout, toolNumber: 7, config });
};

describe('CronJobs', () => {
  test('a scheduled process has a CronJob whose name is the same in every release, and no Deployment', () => {
    const rollout = rolloutOf([update, web()]);
    const { deployments } = rolloutObjects({ rollout, toolNumber: 7, config });
    assert.deepEqual(
      deployments.map(({ metadata }) => metadata.name),
      ['web-v42-k3x9q'],
    );
    const [one, ...others] = made(update, web());
    assert.deepEqual(others, []);
    assert.equal(one?.metadata.name, 'push-update');
    const labels = one?.metadata.labels ?? {};
    assert.equal(labels['toolforge'], 'tool');
    assert.equal(labels['app.kubernetes.io/component'], 'cronjobs');
    assert.equal(labels['app.kubernetes.io/managed-by'], 'toolforge-push');
    assert.equal(labels[LABELS.rollout], 'k3x9q');
    assert.deepEqual(one?.spec?.jobTemplate.spec?.template.metadata?.labels, labels);
    assert.deepEqual(one?.spec?.jobTemplate.metadata?.labels, labels);
  });

  test('CronJobs work like Toolforge’s: in UTC, one run at a time, no start more than 30 s late, finished runs kept for a day', () => {
    const spec = made(update)[0]?.spec;
    const { jobTemplate, ...rest } = spec ?? {};
    assert.deepEqual(rest, {
      schedule: '17 3 * * *',
      timeZone: 'Etc/UTC',
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: 30,
      suspend: false,
      successfulJobsHistoryLimit: 1,
      failedJobsHistoryLimit: 1,
    });
    const { template, ...job } = jobTemplate?.spec ?? {};
    assert.deepEqual(job, { backoffLimit: 2, activeDeadlineSeconds: 3600, ttlSecondsAfterFinished: 86_400 });
    assert.equal(template?.spec?.restartPolicy, 'Never');
  });

  for (const { name, timeoutSeconds, seconds } of [
    { name: 'less', timeoutSeconds: 90, seconds: 90 },
    { name: 'more than allowed', timeoutSeconds: 90_000, seconds: 3600 },
  ]) {
    test(`the time limit of a scheduled run is within the operator’s limit if its schedule asks for ${name}`, () => {
      const [one] = made({ ...update, schedule: { ...daily, timeoutSeconds } });
      assert.equal(one?.spec?.jobTemplate.spec?.activeDeadlineSeconds, seconds);
    });
  }

  test('the pods of CronJobs pass Pod Security `restricted`, have no token and no port, and run as the tool’s user', () => {
    const spec = made(update)[0]?.spec?.jobTemplate.spec?.template.spec;
    const [container] = spec?.containers ?? [];
    assert.equal(spec?.automountServiceAccountToken, false);
    assert.equal(spec?.securityContext?.runAsNonRoot, true);
    assert.equal(spec?.securityContext?.runAsUser, 50_007);
    assert.deepEqual(spec?.securityContext?.seccompProfile, { type: 'RuntimeDefault' });
    assert.deepEqual(container?.securityContext, {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    });
    assert.deepEqual([container?.ports, container?.readinessProbe], [undefined, undefined]);
    assert.deepEqual(container?.envFrom, [{ secretRef: { name: 'config-v42-k3x9q' } }]);
    assert.ok(!container?.env?.some(({ name }) => name === 'PORT'));
  });

  test('a CronJob passes a schedule’s command to the launcher unchanged, or starts the image’s process of the named type', () => {
    const containerOf = (process: Process) =>
      made(process)[0]?.spec?.jobTemplate.spec?.template.spec?.containers[0];
    const own = containerOf(update);
    assert.deepEqual(own?.command, ['/cnb/lifecycle/launcher']);
    assert.deepEqual(own?.args, ['--', 'bash', '-c', 'echo $$(HOME) "$$USER"']);
    const typed = containerOf({ ...update, launchedAs: 'sync' });
    assert.deepEqual([typed?.command, typed?.args], [['/cnb/process/sync'], undefined]);
  });

  test('process types with the same beginning get different CronJob names, short enough for a Job', () => {
    const types = ['a'.repeat(50), `${'a'.repeat(49)}b`, 'up_date', 'up-date'];
    const names = made(...types.map((type) => ({ ...update, type }))).map(({ metadata }) => metadata.name);
    assert.equal(new Set(names).size, 4);
    for (const name of names) assert.match(name, /^push-[-a-z0-9]{1,47}$/);
  });
});

function cronJob(change: Partial<V1CronJob> = {}): V1CronJob {
  return { ...(made(update)[0] as V1CronJob), ...change };
}

describe('a starting server', () => {
  const rollout = rolloutOf([update]);
  test('a starting server resumes a rollout that has CronJobs and no other processes', () => {
    assert.deepEqual(findLiveRollout([cronJob()], rollout, null), { rolloutId: 'k3x9q', others: [] });
    assert.deepEqual(findLiveRollout([cronJob()], rolloutOf([update], { version: 43 }), null), {
      rolloutId: null,
      others: ['k3x9q'],
    });
  });

  test('a starting server does not take the CronJobs of another release for the CronJobs of the live release', () => {
    assert.equal(areSet([cronJob()], rolloutOf([update])), true);
    assert.equal(areSet([cronJob()], rolloutOf([update], { version: 43, id: 'other' })), false);
    assert.equal(areSet([], rolloutOf([update])), false);
    assert.equal(areSet([], rolloutOf([web()])), true);
  });
});

const start = new Date('2026-01-01T03:17:00Z');
const after = (seconds: number) => new Date(start.getTime() + seconds * 1000);

function runPod(state: object, change: Partial<ToolPod> = {}): ToolPod {
  const container = { name: 'job', image: '', imageID: '', ready: false, restartCount: 0, state };
  const pod: V1Pod = { metadata: { creationTimestamp: start }, status: { containerStatuses: [container] } };
  return {
    uid: 'u1',
    pod,
    podName: 'p',
    namespace: 'tool-wikibot',
    tool: 'wikibot',
    type: 'update',
    name: 'update.1',
    version: 42,
    rolloutId: 'k3x9q',
    container,
    isReady: false,
    isTerminating: false,
    terminatingSince: null,
    isScheduled: true,
    isOver: 'terminated' in state,
    ...change,
  };
}

const terminated = (exitCode: number, seconds: number) => ({
  terminated: { exitCode, reason: 'Error', startedAt: start, finishedAt: after(seconds) },
});

describe('the end of a run', () => {
  function ends(schedule: Schedule | null = daily) {
    const said: string[] = [];
    const watching = new ScheduledEnds({
      scheduleOf: () => schedule,
      mostMs: 3600_000,
      memoryBytes: 512 * 1024 * 1024,
      say: (_, texts) => said.push(...texts),
    });
    return { watching, said };
  }

  test('the end of a scheduled run is logged once, with its exit code and duration, and the run still counts as the last run of its schedule', () => {
    const { watching, said } = ends();
    watching.pod(runPod({ running: { startedAt: start } }), false);
    assert.equal(watching.last('wikibot', 'update')?.endedAt, null);
    for (const _ of [1, 2]) watching.pod(runPod(terminated(3, 125)), false);
    assert.deepEqual(said, ['update.1 exited with code 3 after 2 min 5 s']);
    assert.deepEqual(watching.last('wikibot', 'update'), {
      startedAt: start.getTime(),
      endedAt: after(125).getTime(),
      exitCode: 3,
      detail: 'exited with code 3',
    });
  });

  for (const { name, pod, schedule, isOld, text } of [
    { name: 'an end before this server started', pod: runPod(terminated(0, 1)), isOld: true, text: [] },
    { name: 'a run of an unknown release', pod: runPod(terminated(0, 1)), schedule: null, text: [] },
    {
      name: 'a pod that no schedule has started',
      pod: runPod(terminated(0, 1), { isScheduled: false }),
      text: [],
    },
    {
      name: 'an end by lack of memory',
      pod: runPod({
        terminated: { exitCode: 137, reason: 'OOMKilled', startedAt: start, finishedAt: after(2) },
      }),
      text: ['update.1 was ended because it needed more than 512 MiB of memory'],
    },
    {
      name: 'an end after the timeout',
      pod: runPod(terminated(143, 91), { isTerminating: true }),
      schedule: { ...daily, timeoutSeconds: 90 },
      text: ['update.1 took longer than 1 min 30 s (timeout in toolforge.yaml) and was ended'],
    },
    {
      name: 'an end by a stop',
      pod: runPod(terminated(143, 30), { isTerminating: true }),
      text: ['update.1 was ended by the signal SIGTERM'],
    },
    {
      name: 'an end so late that other runs were left out',
      pod: runPod(terminated(0, 185)),
      schedule: { ...daily, cron: '* * * * *' },
      text: [
        'update.1 exited with code 0 after 3 min 5 s',
        'update.1 was due 2 times while it ran, and was not started again',
      ],
    },
    {
      name: 'a run of a program that does not exist',
      pod: runPod({
        terminated: {
          exitCode: 128,
          reason: 'StartError',
          message:
            'failed to create containerd task: exec: "/cnb/process/update": permission denied: unknown',
          startedAt: new Date(0),
          finishedAt: start,
        },
      }),
      text: ['update.1 cannot be started: its command is not in the image'],
    },
    {
      name: 'a lost pod',
      pod: runPod({}, { isOver: true }),
      text: ['update.1 was ended by the cluster'],
    },
  ]) {
    test(`when a scheduled run ends, the log has the right lines: ${name}`, () => {
      const { watching, said } = ends(schedule === undefined ? daily : schedule);
      watching.pod(pod, isOld ?? false);
      assert.deepEqual(said, text);
    });
  }
});

describe('the status of a schedule', () => {
  const parts = {
    runMemory: 1,
    release: () => rolloutOf([update]).release,
    isDraining: () => false,
    lastRun: (): ScheduledRun | null => null,
  };
  const ended: ScheduledRun = { startedAt: 5, endedAt: 6, exitCode: 1, detail: 'exited with code 1' };

  for (const { name, job, pods, lastRun, state, detail, last } of [
    { name: 'that never ran', job: cronJob(), state: 'scheduled', detail: null, last: null },
    {
      name: 'that ran',
      job: cronJob(),
      lastRun: ended,
      state: 'scheduled',
      detail: 'exited with code 1',
      last: ended,
    },
    {
      name: 'that is running',
      job: cronJob(),
      pods: [runPod({ running: {} })],
      state: 'up',
      detail: null,
      last: null,
    },
    {
      name: 'whose image cannot be pulled',
      job: cronJob(),
      pods: [runPod({ waiting: { reason: 'ImagePullBackOff', message: 'Back-off pulling image "x"' } })],
      state: 'crashed',
      detail: /image/,
      last: null,
    },
    {
      name: 'that succeeded before this server started',
      job: cronJob({ status: { lastScheduleTime: start, lastSuccessfulTime: after(4) } }),
      state: 'scheduled',
      detail: 'exited with code 0',
      last: {
        startedAt: start.getTime(),
        endedAt: after(4).getTime(),
        exitCode: 0,
        detail: 'exited with code 0',
      },
    },
    {
      name: 'that failed before this server started',
      job: cronJob({ status: { lastScheduleTime: start } }),
      state: 'scheduled',
      detail: 'its result is not known any more',
      last: {
        startedAt: start.getTime(),
        endedAt: start.getTime(),
        exitCode: null,
        detail: 'its result is not known any more',
      },
    },
  ]) {
    test(`the status shows the state, the detail and the last run of a schedule ${name}`, () => {
      const [status] = scheduleStatuses([job], pods ?? [], { ...parts, lastRun: () => lastRun ?? null });
      assert.equal(status?.name, 'update.1');
      assert.equal(status?.version, 42);
      assert.equal(status?.state, state);
      if (detail instanceof RegExp) assert.match(status?.detail ?? '', detail);
      else assert.equal(status?.detail, detail);
      assert.deepEqual(status?.schedule?.lastRun, last);
      assert.equal(status?.schedule?.text, '@daily');
      assert.equal(status?.command, 'echo $(HOME) "$USER"');
      assert.equal(new Date(status?.schedule?.nextAt ?? 0).toISOString().slice(11), '03:17:00.000Z');
    });
  }

  test('if somebody else has suspended a CronJob, the status of its schedule says “suspended” and names no next run', () => {
    const job = cronJob();
    const changed = { ...job, spec: { ...job.spec, suspend: true, schedule: 'nonsense' } } as V1CronJob;
    const [status] = scheduleStatuses([changed], [], parts);
    assert.deepEqual([status?.detail, status?.schedule?.nextAt], ['suspended', null]);
  });

  test('the CronJob of a paused schedule is suspended, and its status says “paused”', () => {
    const rollout = { ...rolloutOf([update]), isPaused: (type: string) => type === 'update' };
    const [paused] = cronJobs({ rollout, toolNumber: 7, config });
    assert.equal(paused?.spec?.suspend, true);
    const isPaused = () => true;
    const [status] = scheduleStatuses([paused as V1CronJob], [], { ...parts, isPaused });
    assert.deepEqual([status?.detail, status?.schedule?.nextAt], ['paused', null]);
  });

  test('a scheduled run that is started by hand is a Job with the template of its CronJob, which owns the Job', () => {
    const job = cronJob();
    const { metadata, spec } = jobFrom({ ...job, metadata: { ...job.metadata, uid: 'u1' } });
    assert.match(metadata?.name ?? '', /^push-update-[0-9a-f]{8}$/);
    assert.deepEqual(metadata?.labels, job.spec?.jobTemplate.metadata?.labels);
    assert.deepEqual(metadata?.annotations, { 'cronjob.kubernetes.io/instantiate': 'manual' });
    assert.deepEqual(metadata?.ownerReferences, [
      { apiVersion: 'batch/v1', kind: 'CronJob', name: 'push-update', uid: 'u1', controller: true },
    ]);
    assert.deepEqual(spec, job.spec?.jobTemplate.spec);
  });

  test('if somebody starts a scheduled run and the API’s answer is lost, the retry uses the same name, so there is only one Job', async () => {
    const names = new Set<string>();
    let calls = 0;
    const api = await fakeApi((url, response, request) => {
      if (answerKinds(url, response)) return;
      if (request.method === 'GET') {
        const items = url.pathname.endsWith('/cronjobs') ? [cronJob()] : [];
        return answerJson(response, { items, metadata: {} });
      }
      void json(request).then((body) => {
        const { metadata } = body as { metadata: { name: string } };
        names.add(metadata.name);
        calls += 1;
        if (calls === 1) response.destroy();
        else answerJson(response, body);
      });
    });
    try {
      const closing = AbortSignal.timeout(20_000);
      const place = { tool: 'wikibot', namespace: 'tool-wikibot' };
      await startRunNow({ cluster: api.cluster, pods: new ToolPods('tool-'), closing }, place, 'update');
      assert.deepEqual([calls, names.size], [2, 1]);
    } finally {
      await api.close();
    }
  });

  test('if a schedule was deleted, the status still shows the run of the schedule that is under way until the run ends', () => {
    const running = runPod({ running: { startedAt: start } });
    assert.deepEqual(
      scheduleStatuses([], [running, runPod(terminated(0, 1))], parts).map(({ name, state }) => [
        name,
        state,
      ]),
      [['update.1', 'stopping']],
    );
  });
});
