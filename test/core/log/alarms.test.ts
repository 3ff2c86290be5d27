import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ApiException } from '@kubernetes/client-node';
import { unavailable } from '../../../src/auth/directory-timeout.ts';
import { outOfDisk, stepFailed } from '../../../src/builder/build-failures.ts';
import { phaseFailed, podFailed } from '../../../src/builder/kubernetes/output/job-failures.ts';
import { registryFull } from '../../../src/builder/registry/harbor.ts';
import { registryUnavailable } from '../../../src/builder/registry/registry-requests.ts';
import { DeployError } from '../../../src/core/errors.ts';
import {
  alarm,
  alarmAbout,
  BUILD_FAULTS,
  calm,
  logFailure,
  ROLLOUT_FAULTS,
} from '../../../src/core/log/alarms.ts';
import { createLog, type Log } from '../../../src/core/log/log.ts';
import { refusalOf } from '../../../src/kubernetes/faults/api-refusals.ts';
import type { PodFault } from '../../../src/kubernetes/faults/pod-faults.ts';
import { unreachable } from '../../../src/kubernetes/retry.ts';

type Line = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

function listeningLog(): { log: Log; lines: Line[]; text: () => string } {
  const texts: string[] = [];
  const lines: Line[] = [];
  const write = (text: string) => {
    texts.push(text);
    lines.push(JSON.parse(text) as Line);
  };
  return { log: createLog('info', { write }), lines, text: () => texts.join('') };
}

const SECRET = 'hunter2-hunter2';
const GIB = 1024 ** 3;
const limits = { processes: 512, memoryBytes: GIB, fileBytes: GIB };

/** An error as the Kubernetes client throws it, with the whole answer and all its headers. */
function answer(code: number, message: string): ApiException<string> {
  const headers = Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [`x-header-${index}`, `${SECRET}${'x'.repeat(80)}`]),
  );
  const body = JSON.stringify({ kind: 'Status', reason: 'Forbidden', message });
  return new ApiException(code, 'Unknown API Status Code!', body, headers);
}

const fault = (code: PodFault['code'], words: string): PodFault => ({
  ...{ code, words, hint: 'Tell the operator.', container: null, exitCode: null, mayPass: false },
});
const exportFailed = (line: string) =>
  phaseFailed({
    ...{ phase: 'export', lines: [line], registryHost: 'registry.test', limits },
    end: { exitCode: 62, isOutOfMemory: false, message: '' },
  });
const diskFull = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });

const OPERATORS: readonly { name: string; error: unknown; message: string }[] = [
  {
    name: 'RBAC that lacks a right',
    error: refusalOf(
      answer(
        403,
        'jobs.batch is forbidden: User "push" cannot create resource "jobs" in API group "batch" in the namespace "builds"',
      ),
    ),
    message: 'cluster does not allow what this server needs',
  },
  {
    name: 'credentials of the cluster that have expired',
    error: refusalOf(answer(401, 'Unauthorized')),
    message: 'cluster does not allow what this server needs',
  },
  { name: 'a cluster that is away', error: unreachable(null), message: 'cluster does not answer' },
  {
    name: 'a registry that is down',
    error: registryUnavailable('registry.test', 'ECONNREFUSED'),
    message: 'registry does not answer',
  },
  {
    name: 'a registry that is full',
    error: registryFull('tool-wikibot', GIB, GIB),
    message: 'registry is full',
  },
  {
    name: 'a registry that denies the build',
    error: exportFailed('ERROR: failed to export: denied: requested access is denied'),
    message: 'registry refuses this server',
  },
  {
    name: 'a builder image that is missing',
    error: podFailed(fault('IMAGE_PULL', 'cannot start: the image b:1 cannot be pulled'), 'fetching', {
      ...{ diskBytes: GIB, memoryBytes: GIB },
    }),
    message: 'image of a build cannot be pulled',
  },
  {
    name: 'LDAP that is down',
    error: unavailable('the user directory (LDAP) does not answer just now', new Error('ECONNREFUSED')),
    message: 'user directory does not answer',
  },
  { name: 'a full disk', error: diskFull, message: 'disk is full' },
  {
    name: 'a full disk below another error',
    error: new Error('git failed', { cause: diskFull }),
    message: 'disk is full',
  },
  {
    name: 'a store that cannot grow',
    error: Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR', errcode: 13 }),
    message: 'disk is full',
  },
];

const PEOPLES: readonly { name: string; error: unknown }[] = [
  {
    name: 'a build that fails',
    error: stepFailed(
      { name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines: ['no such package'] },
      limits,
    ),
  },
  { name: 'a build that writes too much', error: outOfDisk(GIB, 'node_modules') },
  {
    name: 'a release that crashes',
    error: new DeployError('ROLLOUT_CRASHED', 'web.1 exited with code 1', ''),
  },
  {
    name: 'a release that never answers',
    error: new DeployError('ROLLOUT_TIMED_OUT', 'web.1 never answered', ''),
  },
  {
    name: 'a quota of the tool that is used up',
    error: refusalOf(
      answer(
        403,
        'pods "web" is forbidden: exceeded quota: one, requested: pods=1, used: pods=1, limited: pods=1',
      ),
    ),
  },
  {
    name: 'a tree that is too large',
    error: new DeployError('TREE_TOO_LARGE', 'the commit is too large', ''),
  },
];

describe('alarms for an operator', () => {
  for (const { name, error, message } of OPERATORS) {
    test(`a fault that an operator must fix is logged once, with a fixed message and no secret: ${name}`, () => {
      const { log, lines, text } = listeningLog();
      for (const tool of ['one', 'two', 'three']) assert.equal(alarmAbout(log, error, { tool }), true);
      assert.deepEqual(
        lines.map(({ level, msg }) => [level, msg]),
        [['error', message]],
      );
      assert.equal(lines[0]?.['tool'], 'one');
      assert.doesNotMatch(text(), new RegExp(SECRET));
      assert.ok(text().length < 1000, text());
    });
  }

  for (const { name, error } of PEOPLES) {
    test(`an error that a maintainer can fix is not logged as a fault for the operator: ${name}`, () => {
      const { log, lines } = listeningLog();
      assert.equal(alarmAbout(log, error, { tool: 'wikibot' }), false);
      assert.deepEqual(lines, []);
    });
  }

  test('a fault that lasts is logged again after ten minutes, with the number of times that it happened, and once when it is over', () => {
    const { log, lines } = listeningLog();
    const minute = 60_000;
    const raise = (now: number) =>
      alarm(log, { key: 'REGISTRY_UNAVAILABLE', message: 'registry does not answer', facts: {} }, now);
    for (const at of [0, 1, 5, 9, 11, 12]) raise(at * minute);
    calm(log, BUILD_FAULTS, { now: 15 * minute });
    calm(log, BUILD_FAULTS, { now: 16 * minute });
    raise(17 * minute);
    assert.deepEqual(
      lines.map(({ level, msg, count }) => [level, msg, count]),
      [
        ['error', 'registry does not answer', undefined],
        ['error', 'registry does not answer', 5],
        ['info', 'trouble is over', 6],
        ['error', 'registry does not answer', undefined],
      ],
    );
    assert.equal(lines[2]?.['seconds'], 15 * 60);
  });

  test('the alarm about a missing right in one namespace does not end when a tool in another namespace goes live', () => {
    const { log, lines } = listeningLog();
    const lacking = (tool: string, verb = 'create') =>
      refusalOf(
        answer(
          403,
          `deployments.apps is forbidden: User "push" cannot ${verb} resource "deployments" in API group "apps" in the namespace "tool-${tool}"`,
        ),
      );
    for (const tool of ['one', 'one', 'two']) alarmAbout(log, lacking(tool), { tool });
    calm(log, ROLLOUT_FAULTS, { tool: 'well' });
    alarmAbout(log, lacking('one', 'list'), { tool: 'one' });
    calm(log, ROLLOUT_FAULTS, { tool: 'one' });
    calm(log, ROLLOUT_FAULTS, { tool: 'two' });
    assert.deepEqual(
      lines.map(({ level, msg, tool, count }) => [level, msg, tool, count]),
      [
        ['error', 'cluster does not allow what this server needs', 'one', undefined],
        ['error', 'cluster does not allow what this server needs', 'two', undefined],
        ['info', 'trouble is over', 'one', 3],
        ['info', 'trouble is over', 'two', 1],
      ],
    );
  });

  test('errors of the cluster are logged without bodies and headers of answers', () => {
    const { log, lines, text } = listeningLog();
    const cause = answer(403, 'pods is forbidden: User "push" cannot list resource "pods"');
    log.error({ err: cause }, 'tool not resumed yet');
    log.error({ err: refusalOf(cause) }, 'tool not resumed yet');
    assert.doesNotMatch(text(), new RegExp(SECRET));
    for (const line of lines) {
      assert.ok(JSON.stringify(line).length < 2000, JSON.stringify(line));
      assert.match(JSON.stringify(line), /cannot list resource/);
    }
  });
});

test('a failure that does not end a deployment is logged as an error; if its cause raises an alarm, the alarm is the error, and the failure is a warning', () => {
  const { log, lines } = listeningLog();
  const lacking = refusalOf(answer(403, 'jobs is forbidden: User "push" cannot delete resource "jobs"'));
  for (const error of [lacking, lacking, new Error('odd')])
    logFailure(log, { error, message: 'build not removed from the cluster', facts: { job: 'b-1' } });
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [
      ['error', 'cluster does not allow what this server needs'],
      ['warn', 'build not removed from the cluster'],
      ['warn', 'build not removed from the cluster'],
      ['error', 'build not removed from the cluster'],
    ],
  );
});

test('threat 58: a text in the operator’s log cannot control the terminal of a reader', () => {
  const { log, lines, text } = listeningLog();
  const tool = 'a\u009b31m\u007f\u202egnp.\u2028\u2066';
  log.error({ tool }, 'odd');
  assert.match(text(), /^[\x20-\x7e]+\n$/);
  assert.equal(lines[0]?.['tool'], tool);
});
