import { BlockList } from 'node:net';
import type { V1LabelSelector } from '@kubernetes/client-node';

/** The namespace and labels of a pod. */
export interface Place {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

// The rules as they are in YAML. The Kubernetes client cannot describe them, because it has another name for `from`.
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
export interface Policy {
  readonly metadata: { readonly namespace: string };
  readonly spec: {
    readonly podSelector: V1LabelSelector;
    readonly policyTypes: readonly string[];
    readonly ingress?: readonly Rule[];
    readonly egress?: readonly Rule[];
  };
}

/** Addresses of the internet, and inside addresses: services, nodes, and the credential services of clouds. */
export const WORLD = ['151.101.0.223', '2a04:4e42::223'];
export const INSIDE = [
  '10.96.0.1',
  '10.0.0.5',
  '100.100.100.200',
  '127.0.0.1',
  '169.254.169.254',
  '172.16.0.1',
  '192.168.1.1',
  'fd00:ec2::254',
  'fe80::1',
];

export function matches(
  wanted: Readonly<Record<string, string>> | undefined,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted ?? {}).every(([name, value]) => labels[name] === value);
}

/** True if the policies of both ends allow a connection. An end that no policy selects allows everything. */
export function mayReach(
  policies: readonly Policy[],
  { from, to, port }: { readonly from: Place; readonly to: Place; readonly port: string | number },
): boolean {
  const out = selecting(policies, from, 'Egress');
  const into = selecting(policies, to, 'Ingress');
  const goesOut = out.some(({ spec }) =>
    spec.egress?.some(
      (rule) => isPort(rule, port) && (rule.to?.some((peer) => isPeer(peer, to, from.namespace)) ?? true),
    ),
  );
  const comesIn = into.some(({ spec }) =>
    spec.ingress?.some(
      (rule) => isPort(rule, port) && (rule.from?.some((peer) => isPeer(peer, from, to.namespace)) ?? true),
    ),
  );
  return (out.length === 0 || goesOut) && (into.length === 0 || comesIn);
}

/** True if a policy lets a pod connect to an address. */
export function mayReachAddress(policies: readonly Policy[], from: Place, address: string): boolean {
  const rules = selecting(policies, from, 'Egress').flatMap(({ spec }) => spec.egress ?? []);
  return rules.some(({ to = [] }) => to.some((peer) => isIn(peer, address)));
}

/** True if a policy lets an address outside of all pods connect to a pod. */
export function mayComeFrom(policies: readonly Policy[], to: Place, address: string): boolean {
  const rules = selecting(policies, to, 'Ingress').flatMap(({ spec }) => spec.ingress ?? []);
  return rules.some(({ from = [] }) => from.some((peer) => isIn(peer, address)));
}

function selecting(
  policies: readonly Policy[],
  { namespace, labels }: Place,
  type: 'Ingress' | 'Egress',
): Policy[] {
  return policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === namespace &&
      spec.policyTypes.includes(type) &&
      matches(spec.podSelector.matchLabels, labels),
  );
}

function isPort({ ports }: Rule, port: string | number): boolean {
  return ports?.some((each) => each.port === port) ?? true;
}

function isPeer(peer: Peer, { namespace, labels }: Place, own: string): boolean {
  if (peer.ipBlock !== undefined) return false;
  const isNamespace =
    peer.namespaceSelector === undefined
      ? namespace === own
      : matches(peer.namespaceSelector.matchLabels, { 'kubernetes.io/metadata.name': namespace });
  return isNamespace && matches(peer.podSelector?.matchLabels, labels);
}

function isIn({ ipBlock }: Peer, address: string): boolean {
  if (ipBlock === undefined) return false;
  const holds = (network: string): boolean => {
    const [base = '', bits] = network.split('/');
    const list = new BlockList();
    list.addSubnet(base, Number(bits), base.includes(':') ? 'ipv6' : 'ipv4');
    return (
      base.includes(':') === address.includes(':') &&
      list.check(address, address.includes(':') ? 'ipv6' : 'ipv4')
    );
  };
  return holds(ipBlock.cidr) && !ipBlock.except?.some(holds);
}
