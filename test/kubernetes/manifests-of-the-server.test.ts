import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { BlockList } from 'node:net';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { V1ClusterRole, V1LabelSelector, V1Service, V1StatefulSet } from '@kubernetes/client-node';
import { parse, parseAllDocuments } from 'yaml';
import { labelsOf, newJobName } from '../../src/build/kubernetes/names.ts';
import { readConfig } from '../../src/config.ts';
import type { ToolName } from '../../src/core/names.ts';

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

interface Place {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}
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

// As they are written: the library has another name for `from`.
interface Peer {
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
  readonly namespaceSelector?: V1LabelSelector;
  readonly podSelector?: V1LabelSelector;
}
interface Rule {
  readonly ports?: readonly { readonly port: string | number }[];
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
}
interface Policy {
  readonly metadata: { readonly namespace: string };
  readonly spec: {
    readonly podSelector: V1LabelSelector;
    readonly policyTypes: readonly string[];
    readonly ingress?: readonly Rule[];
    readonly egress?: readonly Rule[];
  };
}

function policies({ namespace, labels }: Place, type: 'Ingress' | 'Egress'): Policy[] {
  return all<Policy>('NetworkPolicy').filter(
    ({ metadata, spec }) =>
      metadata.namespace === namespace &&
      spec.policyTypes.includes(type) &&
      matches(spec.podSelector.matchLabels, labels),
  );
}

function matches(
  wanted: Readonly<Record<string, string>> | undefined,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted ?? {}).every(([name, value]) => labels[name] === value);
}

function isPeer(peer: Peer, { namespace, labels }: Place, own: string): boolean {
  if (peer.ipBlock !== undefined) return false;
  const isNamespace =
    peer.namespaceSelector === undefined
      ? namespace === own
      : matches(peer.namespaceSelector.matchLabels, { 'kubernetes.io/metadata.name': namespace });
  return isNamespace && matches(peer.podSelector?.matchLabels, labels);
}

/** Whether the policies of both ends let a connection through: none that selects an end forbids nothing. */
function mayReach(from: Place, to: Place, port: string): boolean {
  const out = policies(from, 'Egress');
  const into = policies(to, 'Ingress');
  const goesOut = out.some(({ spec }) =>
    spec.egress?.some(
      (rule) =>
        (rule.ports?.some((each) => each.port === port) ?? true) &&
        (rule.to?.some((peer) => isPeer(peer, to, from.namespace)) ?? true),
    ),
  );
  const comesIn = into.some(({ spec }) =>
    spec.ingress?.some(
      (rule) =>
        (rule.ports?.some((each) => each.port === port) ?? true) &&
        (rule.from?.some((peer) => isPeer(peer, from, to.namespace)) ?? true),
    ),
  );
  return (out.length === 0 || goesOut) && (into.length === 0 || comesIn);
}

for (const { name, from, to, port, may } of [
  { name: 'a build fetches its source', from: buildPlace, to: serverPlace, port: 'sources', may: true },
  { name: 'a build does not come to HTTP', from: buildPlace, to: serverPlace, port: 'http', may: false },
  { name: 'only a build fetches sources', from: toolPlace, to: serverPlace, port: 'sources', may: false },
  { name: 'a build does not come to SSH', from: buildPlace, to: serverPlace, port: 'ssh', may: false },
  { name: 'a build does not reach another', from: buildPlace, to: buildPlace, port: 'http', may: false },
  { name: 'a build does not reach a tool', from: buildPlace, to: toolPlace, port: 'http', may: false },
  { name: 'a tool does not reach a build', from: toolPlace, to: buildPlace, port: 'http', may: false },
  { name: 'the server does not reach a build', from: serverPlace, to: buildPlace, port: 'http', may: false },
  {
    name: 'the ingress controller reaches HTTP',
    from: ingressPlace,
    to: serverPlace,
    port: 'http',
    may: true,
  },
  { name: 'a tool does not reach the HTTP door', from: toolPlace, to: serverPlace, port: 'http', may: false },
  { name: 'anybody comes to SSH', from: ingressPlace, to: serverPlace, port: 'ssh', may: true },
]) {
  test(`NetworkPolicy: ${name}`, () => assert.equal(mayReach(from, to, port), may));
}

test('NetworkPolicy: a build reaches the world, and nothing that is inside', () => {
  const reach = new BlockList();
  const inside = new BlockList();
  const add = (list: BlockList, network: string) => {
    const [address = '', bits] = network.split('/');
    list.addSubnet(address, Number(bits), address.includes(':') ? 'ipv6' : 'ipv4');
  };
  for (const { spec } of policies(buildPlace, 'Egress')) {
    for (const { ipBlock } of spec.egress?.flatMap(({ to = [] }) => to) ?? []) {
      if (ipBlock === undefined) continue;
      add(reach, ipBlock.cidr);
      for (const network of ipBlock.except ?? []) {
        add(inside, network);
      }
    }
  }
  const mayGo = (address: string) => {
    const family = address.includes(':') ? 'ipv6' : 'ipv4';
    return reach.check(address, family) && !inside.check(address, family);
  };
  for (const address of ['151.101.0.223', '2a04:4e42::223']) assert.ok(mayGo(address), address);
  for (const address of [
    '10.96.0.1',
    '10.0.0.5',
    '100.100.100.200',
    '127.0.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '192.168.1.1',
    'fd00:ec2::254',
    'fe80::1',
  ]) {
    assert.ok(!mayGo(address), address);
  }
});

// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
test('the server passes Pod Security restricted, with a root filesystem that it cannot write', () => {
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

test('one server is active, and no PodDisruptionBudget holds up a drain', () => {
  assert.equal(server.spec?.replicas, 1);
  assert.deepEqual(all('PodDisruptionBudget'), []);
});

test('rights: no wildcard, no Secret is read, nobody is made mightier, and no command runs in a pod that is there', () => {
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
        /^(pods\/(exec|portforward|ephemeralcontainers)|serviceaccounts|nodes|roles|rolebindings|cluster)/.test(
          name,
        ),
      ),
      about,
    );
  }
  const attach = rules.filter(({ resources = [] }) => resources.includes('pods/attach'));
  assert.deepEqual(
    attach.map(({ resources, verbs }) => [resources, verbs]),
    [[['pods/attach'], ['create', 'get']]],
    'the streams of one-offs, in tools’ namespaces',
  );
});

test('settings and objects name the same ports, paths and namespaces', () => {
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

test('every file is applied', async () => {
  const files = (await readdir(folder)).filter(
    (name) => !['kustomization.yaml', 'settings.yaml'].includes(name),
  );
  assert.deepEqual(files.toSorted(), resources.toSorted());
});
