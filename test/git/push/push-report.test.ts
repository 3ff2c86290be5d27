import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PushOutcome, pushReport } from '../../../src/git/push/push-report.ts';

const command = { oldId: '1'.repeat(40), newId: '2'.repeat(40), ref: 'refs/heads/main' };

function dryRunReport(outcome: PushOutcome, hasOptions: boolean, reason = 'pre-receive hook declined') {
  const refs = [{ ref: 'refs/deployments/x', reason, options: [] }];
  return pushReport({
    fates: [{ kind: 'deploy', command }],
    parkedAs: () => 'refs/deployments/x',
    gitsReport: { unpack: 'ok', refs },
    ...{ outcome, hasOptions, isAtomic: false, isDryRun: true },
  }).refs;
}

test('the report of a dry run that passes names another ref, so that no client records a move of the branch', () => {
  const options = ['refname refs/dry-run/main', `old-oid ${'0'.repeat(40)}`];
  assert.deepEqual(dryRunReport({ kind: 'would-pass' }, true), [{ ref: command.ref, reason: null, options }]);
});

test('a client without report-status-v2 is told that the push would pass, as a refusal', () => {
  const [status] = dryRunReport({ kind: 'would-pass' }, false);
  assert.match(status?.reason ?? '', /^dry run: this push would pass/);
});

test('if git itself refuses a dry run, its report has the reason of git', () => {
  const [status] = dryRunReport({ kind: 'would-pass' }, true, 'missing necessary objects');
  assert.equal(status?.reason, 'missing necessary objects');
});
