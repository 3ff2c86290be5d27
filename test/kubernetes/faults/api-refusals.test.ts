import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ApiException } from '@kubernetes/client-node';
import { isNotFound, refusalOf } from '../../../src/kubernetes/faults/api-refusals.ts';

const exception = (code: number, reason: string, message: string) =>
  new ApiException(code, reason, JSON.stringify({ kind: 'Status', reason, message, code }), {});

describe('refusals of the API are explained', () => {
  for (const { name, code, reason, said, is, message } of [
    {
      name: 'an exceeded quota',
      code: 403,
      reason: 'Forbidden',
      said: 'pods "web-1" is forbidden: exceeded quota: tool-wikibot, requested: limits.memory=512Mi,pods=1, used: limits.memory=7936Mi,pods=10, limited: limits.memory=8Gi,pods=10',
      is: 'QUOTA_EXCEEDED',
      message:
        /^the tool's quota tool-wikibot is used up \(memory \(limits\): 512 MiB more asked for, 7\.8 GiB of 8 GiB in use; pods: 1 more asked for, 10 of 10 in use\)$/,
    },
    {
      name: 'an exceeded quota of objects',
      code: 403,
      reason: 'Forbidden',
      said: 'deployments.apps "web" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=3, limited: count/deployments.apps=3',
      is: 'QUOTA_EXCEEDED',
      message: /deployments\.apps: 1 more asked for, 3 of 3 in use/,
    },
    {
      name: 'a quota on a resource that the process does not set',
      code: 403,
      reason: 'Forbidden',
      said: 'pods "x" is forbidden: failed quota: q: must specify limits.cpu for: job',
      is: 'QUOTA_EXCEEDED',
      message: /requires every process to set limits\.cpu for: job/,
    },
    {
      name: 'several limits of a limit range',
      code: 403,
      reason: 'Forbidden',
      said: 'pods "x" is forbidden: [maximum memory usage per Container is 4Gi, but limit is 5Gi, maximum cpu usage per Container is 1, but limit is 2]',
      is: 'LIMIT_RANGE',
      message: /memory may be at most 4Gi, asked for: 5Gi; cpu may be at most 1, asked for: 2/,
    },
    {
      name: 'a minimum of a limit range',
      code: 403,
      reason: 'Forbidden',
      said: 'pods "x" is forbidden: minimum cpu usage per Container is 50m, but request is 10m',
      is: 'LIMIT_RANGE',
      message: /cpu must be at least 50m, asked for: 10m/,
    },
    {
      name: 'Pod Security',
      code: 403,
      reason: 'Forbidden',
      said: 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "job" must set securityContext.runAsNonRoot=true)',
      is: 'POD_SECURITY',
      message: /restricted:latest does not allow the process: runAsNonRoot != true/,
    },
    {
      name: 'a namespace that does not exist',
      code: 404,
      reason: 'NotFound',
      said: 'namespaces "tool-wikibot" not found',
      is: 'NAMESPACE_MISSING',
      message: /^the tool's namespace tool-wikibot does not exist$/,
    },
    {
      name: 'a namespace that is being deleted',
      code: 403,
      reason: 'Forbidden',
      said: 'secrets "x" is forbidden: unable to create new content in namespace tool-x because it is being terminated',
      is: 'NAMESPACE_LEAVING',
      message: /^the tool's namespace tool-x is being deleted$/,
    },
    {
      name: 'a right that the server lacks (RBAC)',
      code: 403,
      reason: 'Forbidden',
      said: 'deployments.apps "web" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "deployments" in API group "apps" in the namespace "tool-x"',
      is: 'CLUSTER_FORBIDDEN',
      message: /^this server may not patch deployments in the namespace tool-x$/,
    },
    {
      name: 'an admission webhook',
      code: 403,
      reason: 'Forbidden',
      said: 'admission webhook "registry-admission.toolforge.org" denied the request: this registry is not allowed',
      is: 'CLUSTER_FORBIDDEN',
      message: /this registry is not allowed$/,
    },
    {
      name: 'config vars that are too large for a Secret',
      code: 422,
      reason: 'Invalid',
      said: 'Secret "config-v1-x" is invalid: data: Too long: may not be more than 1048576 bytes',
      is: 'CONFIG_TOO_LARGE',
      message: /at most 1 MiB$/,
    },
    {
      name: 'config vars that are too large for a request',
      code: 413,
      reason: 'RequestEntityTooLarge',
      said: 'Request entity too large: limit is 3145728',
      is: 'CONFIG_TOO_LARGE',
      message: /at most 1 MiB$/,
    },
    {
      name: 'expired credentials',
      code: 401,
      reason: 'Unauthorized',
      said: 'Unauthorized',
      is: 'CLUSTER_FORBIDDEN',
      message: /refused the credentials/,
    },
  ]) {
    test(`a refusal of the cluster’s API is explained: ${name}`, () => {
      const refusal = refusalOf(exception(code, reason, said));
      assert.equal(refusal?.code, is);
      assert.match(refusal?.message ?? '', message);
      assert.ok((refusal?.hint ?? '').length > 0);
    });
  }

  test('an error of the cluster’s API that no person can fix is not explained, and stays an error of the server', () => {
    assert.equal(
      refusalOf(exception(422, 'Invalid', 'Deployment.apps "x" is invalid: spec.selector: Required')),
      null,
    );
    assert.equal(refusalOf(new TypeError('x is undefined')), null);
  });

  test('if this server lacks a right in a namespace, the hint says that the namespace may not exist', () => {
    const said = (place: string) =>
      `pods is forbidden: User "a" cannot list resource "pods" in API group "" ${place}`;
    const hint = (place: string) => refusalOf(exception(403, 'Forbidden', said(place)))?.hint;
    assert.match(hint('in the namespace "tool-x"') ?? '', /\(RBAC\), or the namespace does not exist\.$/);
    assert.match(hint('at the cluster scope') ?? '', /\(RBAC\) lacks the right for this request\.$/);
  });

  test('the server does not mistake a missing object for a missing namespace', () => {
    assert.ok(isNotFound(exception(404, 'NotFound', 'services "wikibot" not found')));
    assert.ok(!isNotFound(exception(404, 'NotFound', 'namespaces "tool-x" not found')));
  });
});
