import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type {
  V1ClusterRole,
  V1ClusterRoleBinding,
  V1Role,
  V1RoleBinding,
  V1Service,
  V1StatefulSet,
} from '@kubernetes/client-node';
import { parse, parseAllDocuments } from 'yaml';
import { labelsOf, newJobName } from '../../src/builder/kubernetes/job/build-names.ts';
import { readConfig } from '../../src/config.ts';
import type { ToolName } from '../../src/core/names.ts';
import { LEASE_NAME } from '../../src/kubernetes/server-lease.ts';
import {
  INSIDE,
  matches,
  mayReach,
  mayReachAddress,
  type Place,
  type Policy,
  WORLD,
} from './network-policies.ts';

const folder = resolve(import.meta.dirname, '../../deploy/kubernetes');
const { resources } = parse(await readFile(join(folder, 'kustomization.yaml'), 'utf8')) as {
  resources: string[];
};
const objects: { kind: string; metadata: { name: string; namespace?: string } }[] = [];
for (const file of resources) {
  for (const document of parseAllDocuments(await readFile(join(folder, file), 'utf8'))) {
    objects.push(document.toJS());
  }
}

function all<Kind>(kind: string): Kind[] {
  return objects.filter((object) => object.kind === kind) as Kind[];
}

function one<Kind>(kind: string, name: string): Kind {
  const [found, ...others] = objects.filter(
    (object) => object.kind === kind && object.metadata.name === name,
  );
  assert.ok(found !== undefined && others.length === 0, `${kind} ${name}`);
  return found as Kind;
}

const server = one<V1StatefulSet>('StatefulSet', 'toolforge-push');
const template = server.spec?.template;
const pod = template?.spec;
const [container] = pod?.containers ?? [];
const settings = readConfig({ TOOLFORGE_PUSH_CONFIG: join(folder, 'settings.yaml') });

const serverPlace: Place = { namespace: 'toolforge-push', labels: template?.metadata?.labels ?? {} };
const tool = 'wikibot' as ToolName;
const buildPlace: Place = {
  namespace: settings.build_namespace,
  labels: labelsOf(tool, '7', newJobName(tool)),
};
const toolPlace: Place = {
  namespace: 'tool-wikibot',
  labels: { 'app.kubernetes.io/component': 'web', 'app.kubernetes.io/managed-by': 'toolforge-push' },
};
const ingressPlace: Place = { namespace: 'ingress-nginx', labels: {} };

const policies = all<Policy>('NetworkPolicy');

for (const { name, from, to, port, may } of [
  {
    name: 'a build reaches the server’s port for sources',
    from: buildPlace,
    to: serverPlace,
    port: 'sources',
    may: true,
  },
  {
    name: 'a build does not reach the server’s HTTP port',
    from: buildPlace,
    to: serverPlace,
    port: 'http',
    may: false,
  },
  {
    name: 'a tool does not reach the server’s port for sources',
    from: toolPlace,
    to: serverPlace,
    port: 'sources',
    may: false,
  },
  {
    name: 'a build does not reach the server’s SSH port',
    from: buildPlace,
    to: serverPlace,
    port: 'ssh',
    may: false,
  },
  {
    name: 'a build does not reach another build',
    from: buildPlace,
    to: buildPlace,
    port: 'http',
    may: false,
  },
  { name: 'a build does not reach a tool', from: buildPlace, to: toolPlace, port: 'http', may: false },
  { name: 'a tool does not reach a build', from: toolPlace, to: buildPlace, port: 'http', may: false },
  { name: 'the server does not reach a build', from: serverPlace, to: buildPlace, port: 'http', may: false },
  {
    name: 'the ingress controller reaches the server’s HTTP port',
    from: ingressPlace,
    to: serverPlace,
    port: 'http',
    may: true,
  },
  {
    name: 'a tool does not reach the server’s HTTP port',
    from: toolPlace,
    to: serverPlace,
    port: 'http',
    may: false,
  },
  {
    name: 'a pod in another namespace reaches the server’s SSH port',
    from: ingressPlace,
    to: serverPlace,
    port: 'ssh',
    may: true,
  },
]) {
  test(`the NetworkPolicies of the installation decide which connections are possible: ${name}`, () =>
    assert.equal(mayReach(policies, { from, to, port }), may));
}

test('the NetworkPolicy for builds lets a build reach the internet, but no private or link-local address', () => {
  for (const address of WORLD) assert.ok(mayReachAddress(policies, buildPlace, address), address);
  for (const address of INSIDE) assert.ok(!mayReachAddress(policies, buildPlace, address), address);
});

// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
test('the server passes Pod Security restricted, and cannot write its root filesystem', () => {
  assert.equal(pod?.securityContext?.runAsNonRoot, true);
  assert.notEqual(pod?.securityContext?.runAsUser ?? 0, 0);
  assert.equal(pod?.securityContext?.seccompProfile?.type, 'RuntimeDefault');
  assert.deepEqual([pod?.hostNetwork, pod?.hostPID, pod?.hostIPC], [undefined, undefined, undefined]);
  const kinds = (pod?.volumes ?? []).flatMap(({ name: _, ...kind }) => Object.keys(kind));
  assert.deepEqual(kinds.toSorted(), ['configMap', 'emptyDir', 'secret']);
  for (const each of [...(pod?.initContainers ?? []), ...(pod?.containers ?? [])]) {
    assert.equal(each.securityContext?.allowPrivilegeEscalation, false);
    assert.equal(each.securityContext?.readOnlyRootFilesystem, true);
    assert.deepEqual(each.securityContext?.capabilities, { drop: ['ALL'] });
    assert.ok((each.ports ?? []).every(({ hostPort }) => hostPort === undefined));
  }
});

test('the StatefulSet has podManagementPolicy Parallel, because it can then replace a pod that never becomes ready', () => {
  assert.equal(server.spec?.podManagementPolicy, 'Parallel');
});

test('by default the server may only look at objects in tools’ namespaces, and change nothing there', () => {
  const bound = all<V1ClusterRoleBinding>('ClusterRoleBinding').map(({ roleRef }) => roleRef.name);
  assert.deepEqual(bound, ['toolforge-push-looks']);
  const looks = one<V1ClusterRole>('ClusterRole', 'toolforge-push-looks').rules;
  assert.deepEqual(
    looks?.map(({ apiGroups, resources, verbs }) => [apiGroups?.join(), resources?.join(), verbs.join()]),
    [
      ['', 'namespaces', 'get'],
      ['', 'pods,services', 'list,watch'],
      ['apps', 'deployments', 'list,watch'],
      ['batch', 'cronjobs', 'list,watch'],
      ['networking.k8s.io', 'ingresses', 'list,watch'],
      ['policy', 'poddisruptionbudgets', 'list,watch'],
    ],
  );
  const inNamespaces = all<V1RoleBinding>('RoleBinding').map(({ metadata }) => metadata?.namespace);
  assert.deepEqual(inNamespaces.toSorted(), ['toolforge-push', 'toolforge-push-builds']);
});

test('threat 85: the server may read and change only its own Lease, in its own namespace', () => {
  const leases = [...all<V1ClusterRole>('ClusterRole'), ...all<V1Role>('Role')].filter((role) =>
    role.rules?.some(({ resources = [] }) => resources.includes('leases')),
  );
  assert.deepEqual(
    leases.map(({ kind, metadata, rules = [] }) => [
      kind,
      metadata?.namespace,
      rules?.map(({ verbs, resourceNames }) => [verbs, resourceNames]),
    ]),
    [
      [
        'Role',
        serverPlace.namespace,
        [
          [['create'], undefined],
          [['get', 'update'], [LEASE_NAME]],
        ],
      ],
    ],
  );
});

test('the manifests run one server, and no PodDisruptionBudget blocks the drain of its node', () => {
  assert.equal(server.spec?.replicas, 1);
  assert.deepEqual(all('PodDisruptionBudget'), []);
});

test('threat 73: the server’s rights in the cluster have no wildcard, read no Secret, grant no rights, and run commands only in the pods of tools', () => {
  const rules = [...all<V1ClusterRole>('ClusterRole'), ...all<V1ClusterRole>('Role')].flatMap(
    ({ rules = [] }) => rules ?? [],
  );
  assert.ok(rules.length > 10);
  for (const { apiGroups = [], resources = [], verbs, nonResourceURLs } of rules) {
    const about = `${resources.join(',')}: ${verbs.join(',')}`;
    assert.ok(![...apiGroups, ...resources, ...verbs].includes('*'), about);
    assert.equal(nonResourceURLs, undefined, about);
    if (resources.includes('secrets')) {
      assert.ok(!verbs.some((verb) => ['get', 'list', 'watch'].includes(verb)), about);
    }
    assert.ok(!verbs.some((verb) => ['escalate', 'bind', 'impersonate'].includes(verb)), about);
    assert.ok(
      !resources.some((name) =>
        /^(pods\/(portforward|ephemeralcontainers)|serviceaccounts|nodes|roles|rolebindings|cluster)/.test(
          name,
        ),
      ),
      about,
    );
  }
  const inPods = [...all<V1ClusterRole>('ClusterRole'), ...all<V1ClusterRole>('Role')].flatMap(
    ({ metadata, rules = [] }) =>
      (rules ?? [])
        .filter(({ resources = [] }) => /pods\/(attach|exec)/.test(resources.join()))
        .map(({ resources, verbs }) => [metadata?.name, resources, verbs]),
  );
  assert.deepEqual(
    inPods,
    [['toolforge-push-tools', ['pods/attach', 'pods/exec'], ['create', 'get']]],
    'the streams of one-offs and exec, in tools’ namespaces',
  );
});

test('the settings and the Kubernetes objects of the installation agree about ports, paths and namespaces', () => {
  assert.deepEqual([settings.builder, settings.runtime], ['kubernetes', 'kubernetes']);
  const ports = Object.fromEntries(
    (container?.ports ?? []).map(({ name, containerPort }) => [name, containerPort]),
  );
  const { ssh, http, sources_listen: sources } = settings;
  assert.deepEqual(ports, { ssh: ssh.port, http: http.port, sources: sources?.port });
  const service = one<V1Service>('Service', 'toolforge-push');
  assert.ok(matches(service.spec?.selector, serverPlace.labels));
  const source = new URL(settings.source_url);
  assert.equal(source.hostname, `${service.metadata?.name}.${service.metadata?.namespace}.svc`);
  assert.equal(service.spec?.ports?.find(({ port }) => port === Number(source.port))?.targetPort, 'sources');
  one('Namespace', settings.build_namespace);
  const mounted = (path: string) =>
    container?.volumeMounts?.some(({ mountPath }) => path.startsWith(`${mountPath}/`));
  assert.ok(mounted(settings.data) && mounted(settings.keys));
  assert.equal(pod?.enableServiceLinks, false, 'variables of a Service would be read as settings');
  const file = container?.env?.find(({ name }) => name === 'TOOLFORGE_PUSH_CONFIG')?.value ?? '';
  assert.ok(mounted(file) && file.endsWith('/settings.yaml'));
});

test('the kustomization applies every manifest that is directly in deploy/kubernetes', async () => {
  const others = ['kustomization.yaml', 'settings.yaml', 'tool', 'rights-everywhere'];
  const files = (await readdir(folder)).filter((name) => !others.includes(name));
  assert.deepEqual(files.toSorted(), resources.toSorted());
});
