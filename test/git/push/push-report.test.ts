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

test('the report of a dry run that passes names refs/dry-run/main instead of main, so that no git client records that main has moved', () => {
  const options = ['refname refs/dry-run/main', `old-oid ${'0'.repeat(40)}`];
  assert.deepEqual(dryRunReport({ kind: 'would-pass' }, true), [{ ref: command.ref, reason: null, options }]);
});

test('in a dry run, a client without report-status-v2 gets a refusal that says that the push would pass', () => {
  const [status] = dryRunReport({ kind: 'would-pass' }, false);
  assert.match(status?.reason ?? '', /^dry run: this push would pass/);
});

test('if git itself refuses the objects of a dry run, the report to the client has git’s reason', () => {
  const [status] = dryRunReport({ kind: 'would-pass' }, true, 'missing necessary objects');
  assert.equal(status?.reason, 'missing necessary objects');
});
