import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { service } from '../../../../src/run/kubernetes/manifests/rollout-manifests.ts';
import { attachedLine, oneOffPod, oneOffSecret } from '../../../../src/run/kubernetes/one-off/one-off-pod.ts';
import type { Terminal } from '../../../../src/run/runtime.ts';
import { releaseOf } from '../../contract-steps.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const config = {
  ...manifestConfig,
  health_time: 1000,
  pod_uid: 50_000,
  pod_disk: 0,
  one_off_time: 3_600_000,
};

function options(command: readonly string[], terminal: Terminal | null = null) {
  const artifact = {
    ...{ id: 'b1', kind: 'image' as const, reference: 'r/x@sha256:0', buildpacks: [], bytes: 1 },
    processes: [{ type: 'web', command: ['true'], isDefault: true }],
    service: { healthCheckPath: null },
  };
  const release = releaseOf('wikibot' as ToolName, 42, artifact, { API_KEY: 'secret' });
  const rollout = { release, id: 'k3x9q', namespace: 'tool-wikibot', replicas: {} };
  const oneOff = {
    ...{ release, toolNumber: 7, command, terminal, input: nothing() },
    ...{ output: async () => {}, errors: async () => {}, signal: new AbortController().signal },
  };
  return { rollout, oneOff, config, serverRun: 'abcde', mark: 'f00' };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

describe('the pod of a one-off', () => {
  test('no Service, rollout or watch of the tool’s processes selects the pod of a one-off command', () => {
    const labels = oneOffPod(options(['true'])).metadata?.labels ?? {};
    const selector =
      service({ tool: 'wikibot', namespace: 'tool-wikibot', rolloutId: 'k3x9q' }).spec?.selector ?? {};
    assert.ok(Object.entries(selector).some(([name, value]) => labels[name] !== value));
    for (const label of [LABELS.rollout, LABELS.process]) assert.equal(labels[label], undefined);
    assert.equal(oneOffSecret(options(['true'])).metadata?.labels?.[LABELS.rollout], undefined);
  });

  test('threat 16: Kubernetes replaces no variables in the command of a one-off', () => {
    const args = oneOffPod(options(['echo', '$(API_KEY)', '$$', "it's"])).spec?.containers[0]?.args ?? [];
    assert.deepEqual(args.slice(-4), ['echo', '$$(API_KEY)', '$$$$', "it's"]);
  });

  test('the pod of a one-off command is confined like the tool’s other pods, has a deadline, and is not restarted', () => {
    const { spec } = oneOffPod(options(['true']));
    assert.equal(spec?.restartPolicy, 'Never');
    assert.equal(spec?.activeDeadlineSeconds, 300 + 3600 + 15);
    assert.equal(spec?.automountServiceAccountToken, false);
    assert.equal(spec?.securityContext?.runAsUser, 50_007);
    const [container] = spec?.containers ?? [];
    assert.deepEqual(container?.securityContext?.capabilities, { drop: ['ALL'] });
    assert.equal(container?.resources?.limits?.['memory'], '512Mi');
    assert.equal(JSON.stringify(spec).includes('secret"'), false, 'config vars stand in the Secret alone');
    assert.deepEqual([container?.stdin, container?.stdinOnce, container?.tty], [true, true, false]);
  });

  test('if a one-off command has a terminal, its pod gets TERM, and the server sends the pod a first line with the size of the terminal', () => {
    const terminal = { type: 'xterm', size: { columns: 100, rows: 30 }, onResize: () => {} };
    const [container] = oneOffPod(options(['bash'], terminal)).spec?.containers ?? [];
    assert.equal(container?.tty, true);
    assert.deepEqual(
      container?.env?.find(({ name }) => name === 'TERM'),
      { name: 'TERM', value: 'xterm' },
    );
    assert.deepEqual(container?.args?.slice(-2), ['f00', 'bash']);
    assert.equal(attachedLine(terminal.size), '30 100\n');
    assert.equal(attachedLine(undefined), '\n');
  });
});
