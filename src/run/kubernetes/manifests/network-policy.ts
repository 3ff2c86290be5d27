import { BlockList } from 'node:net';
import type { V1NetworkPolicy, V1NetworkPolicyPeer } from '@kubernetes/client-node';
import type { Applied } from '../../../kubernetes/apply.ts';
import type { ManifestConfig } from './manifest-config.ts';
import { toolLabels } from './pod-manifest.ts';

// Internal IPv4 addresses, which are not part of the internet: private, shared, loopback and link-local. Cloud
// providers hand out credentials at a link-local address.
const INSIDE_4 = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
];
// The last two networks are NAT64 (RFC 6052) and 6to4 (RFC 3056). Their addresses contain IPv4 addresses, so a tool
// could reach internal IPv4 addresses through them.
const INSIDE_6 = ['fc00::/7', 'fe80::/10', '64:ff9b::/96', '2002::/16'];

export interface NetworkPolicyOptions {
  readonly tool: string;
  readonly namespace: string;
  /** Addresses of the cluster's API servers. */
  readonly apiServers: readonly string[];
  readonly config: Pick<ManifestConfig, 'ingress_namespace' | 'tool_networks_in' | 'tool_networks_out'>;
}

/**
 * Returns the kind, name and namespace of a tool's NetworkPolicy, with which the server looks for it in the cluster.
 */
export function policyOf(namespace: string): Applied<V1NetworkPolicy> {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'toolforge-push', namespace },
  };
}

/**
 * Returns the network policy of a tool's namespace, for a server that creates namespaces. If somebody else creates the
 * namespaces, deploy/kubernetes/tool has the same policy for them. The ingress controller and the tool's own pods can
 * reach the tool. So can the API servers, because this server checks the health of the tool through them. The tool can
 * reach DNS, its own pods and the internet, but neither internal addresses (`INSIDE_4`, `INSIDE_6`) nor the API
 * servers. The settings `tool_networks_in` and `tool_networks_out` add networks.
 */
export function networkPolicy(options: NetworkPolicyOptions): Applied<V1NetworkPolicy> {
  const { tool, namespace, apiServers, config } = options;
  const own: V1NetworkPolicyPeer = { podSelector: {} };
  const inside = insideWith(apiServers);
  return {
    ...policyOf(namespace),
    metadata: { ...policyOf(namespace).metadata, labels: toolLabels(tool) },
    spec: {
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        {
          _from: [
            inNamespace(config.ingress_namespace),
            own,
            ...[...apiServers.map(asNetwork), ...config.tool_networks_in].map(block),
          ],
        },
      ],
      egress: [
        {
          to: [inNamespace('kube-system')],
          ports: [
            { port: 53, protocol: 'UDP' },
            { port: 53, protocol: 'TCP' },
          ],
        },
        {
          to: [
            own,
            { ipBlock: { cidr: '0.0.0.0/0', except: inside.filter((network) => !network.includes(':')) } },
            { ipBlock: { cidr: '::/0', except: inside.filter((network) => network.includes(':')) } },
            ...config.tool_networks_out.map(block),
          ],
        },
      ],
    },
  };
}

function insideWith(apiServers: readonly string[]): string[] {
  const inside = new BlockList();
  for (const network of [...INSIDE_4, ...INSIDE_6]) {
    const [address = '', bits] = network.split('/');
    inside.addSubnet(address, Number(bits), familyOf(address));
  }
  const others = apiServers.filter((address) => !inside.check(address, familyOf(address)));
  return [...INSIDE_4, ...INSIDE_6, ...others.map(asNetwork)];
}

function inNamespace(name: string): V1NetworkPolicyPeer {
  return { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } };
}

function block(cidr: string): V1NetworkPolicyPeer {
  return { ipBlock: { cidr } };
}

function asNetwork(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return address.includes(':') ? 'ipv6' : 'ipv4';
}
