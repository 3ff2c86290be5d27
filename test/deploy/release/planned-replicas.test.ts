import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { progressTo } from '../../../src/core/progress.ts';
import type { Artifact, Replicas } from '../../../src/core/types.ts';
import {
  assertRuns,
  plannedReplicas,
  replicaChanges,
  warnOfTooMany,
} from '../../../src/deploy/release/planned-replicas.ts';
import type { Store } from '../../../src/store/store.ts';
import { releaseOf } from '../../run/contract-steps.ts';

const types = (count: number, name: string, replicas: number) =>
  Array.from({ length: count }, (_, index) => ({
    ...{ type: `${name}${index}`, command: ['x'], isDefault: false, replicas },
  }));

const artifact: Artifact = {
  ...{ id: 'b1', kind: 'image', reference: 'r/x@sha256:0', buildpacks: [], bytes: 1 },
  processes: [...types(30, 'command', 0), ...types(3, 'worker', 1)],
  service: { healthCheckPath: null },
};

test('threat 60: if the numbers that `scale` has stored would keep more process types running than the setting process_types allows, the surplus commands do not run, and a warning says so', () => {
  const stored: Replicas = Object.fromEntries(types(30, 'command', 0).map(({ type }) => [type, 2]));
  const store = {
    replicas: () => stored,
    ownLimits: () => ({}),
    tool: () => ({ liveVersion: null }),
  } as unknown as Store;
  const context = { store, maxReplicas: 4, processTypes: 5 };
  const release = releaseOf('wikibot' as ToolName, 1, artifact);
  const running = Object.entries(plannedReplicas(context, release)).filter(([, count]) => count > 0);
  assert.deepEqual(Object.fromEntries(running), {
    ...{ command0: 2, command1: 2 },
    ...{ worker0: 1, worker1: 1, worker2: 1 },
  });
  const told: string[] = [];
  warnOfTooMany(
    context,
    release,
    progressTo((text) => told.push(text)),
  );
  assert.match(told.join(''), /28 commands do not run, because at most 5 process types.*\(process_types\)/);
});

test('the description of a change in the numbers of processes leaves out a new process type that has 0 processes', () => {
  assert.equal(replicaChanges({ web: 1 }, { web: 1, migrate: 0 }), 'no change');
  assert.equal(replicaChanges({ web: 1 }, { web: 2, migrate: 0, listen: 1 }), 'web 1 → 2, listen 0 → 1');
});

for (const { type, isStopped, code, message } of [
  { type: 'nothing', isStopped: false, code: 'NO_PROCESS_TYPE', message: /has no process type “nothing”/ },
  {
    type: 'command0',
    isStopped: false,
    code: 'NOT_RUNNING',
    message: /v1 of wikibot runs no command0 process/,
  },
  { type: 'worker0', isStopped: true, code: 'NOT_RUNNING', message: /v1 of wikibot is stopped/ },
]) {
  test(`a restart of the process type ${type} is refused with ${code}${isStopped ? ' if the tool is stopped' : ''}`, () => {
    const tool = () => ({ liveVersion: null, isStopped });
    const store = { replicas: () => ({}), ownLimits: () => ({}), tool } as unknown as Store;
    const context = { store, maxReplicas: 4, processTypes: 5 };
    const release = releaseOf('wikibot' as ToolName, 1, artifact);
    assert.throws(() => assertRuns(context, release, type), { code, message });
    if (!isStopped) assertRuns(context, release, 'worker0');
  });
}
