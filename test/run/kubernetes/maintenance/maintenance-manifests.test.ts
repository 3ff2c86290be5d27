import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { maintenanceDeployment } from '../../../../src/run/kubernetes/maintenance/maintenance-manifests.ts';
import { rolloutObjects, service } from '../../../../src/run/kubernetes/manifests/rollout-manifests.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const rollout = rolloutOf([{ type: 'web', command: ['x'], isDefault: true }]);
const { tool } = rollout.release;
const config = { ...manifestConfig, pod_uid: 50_000, replica_secret: 'replica' };
const page = maintenanceDeployment({ ...rollout, toolNumber: 7, config });

/** True if a Service with this selector sends requests to a pod with these labels. */
function selects(selector: Record<string, string> = {}, labels: Record<string, string> = {}): boolean {
  return Object.entries(selector).every(([name, value]) => labels[name] === value);
}

test('the Service of a tool in maintenance selects the maintenance page, and an annotation of the Service names the rollout; without maintenance, the Service selects the rollout', () => {
  const [web] = rolloutObjects({ rollout, toolNumber: 7, config }).deployments;
  for (const isInMaintenance of [true, false]) {
    const made = service({ tool, namespace: rollout.namespace, rolloutId: rollout.id, isInMaintenance });
    const { selector } = made.spec ?? {};
    assert.equal(selects(selector, page.spec?.template.metadata?.labels), isInMaintenance);
    assert.equal(selects(selector, web?.spec?.template.metadata?.labels), !isInMaintenance);
    const { annotations } = made.metadata as { annotations?: Record<string, string> };
    assert.equal(annotations?.['push.toolforge.org/rollout'], isInMaintenance ? rollout.id : undefined);
  }
});

test('the pod with the maintenance page runs as the user of the tool, passes Pod Security `restricted`, and gets no Secret', () => {
  const { spec } = page.spec?.template ?? {};
  const [container] = spec?.containers ?? [];
  assert.equal(container?.image, rollout.release.artifact.reference);
  assert.equal(spec?.automountServiceAccountToken, false);
  assert.equal(spec?.securityContext?.runAsUser, 50_007);
  assert.deepEqual(spec?.securityContext?.seccompProfile, { type: 'RuntimeDefault' });
  assert.equal(container?.securityContext?.allowPrivilegeEscalation, false);
  assert.deepEqual(container?.securityContext?.capabilities, { drop: ['ALL'] });
  assert.deepEqual([spec?.volumes, container?.envFrom], [undefined, undefined]);
  assert.deepEqual(
    container?.env?.map(({ name, value }) => [name, typeof value]),
    ['PLAIN_HEAD', 'PLAIN_BODY', 'OWN_HEAD'].map((name) => [name, 'string']),
  );
});

test('the Deployment with the maintenance page of a preview has another name than the Deployment with the page of its tool', () => {
  const preview = { ...rollout, previewOf: 'wikibot' as ToolName, toolNumber: 7, config };
  assert.equal(page.metadata.name, 'push-maintenance');
  assert.match(maintenanceDeployment(preview).metadata.name, /^preview-[0-9a-f]{10}-maintenance$/);
});
