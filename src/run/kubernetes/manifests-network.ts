import { BlockList } from 'node:net';
import type { V1NetworkPolicy, V1NetworkPolicyPeer } from '@kubernetes/client-node';
import type { Applied } from '../../kubernetes/applying.ts';
import { type ManifestConfig, toolLabels } from './manifests-pod.ts';

// What is inside: private and shared addresses, this machine's own, and links, where clouds hand out credentials.
const INSIDE_4 = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
];
const INSIDE_6 = ['fc00::/7', 'fe80::/10'];

export interface NetworkPolicyOptions {
  readonly tool: string;
  readonly namespace: string;
  /** Addresses of the cluster's API servers. */
  readonly apiServers: readonly string[];
  readonly config: Pick<ManifestConfig, 'ingress_namespace' | 'tool_networks_in' | 'tool_networks_out'>;
}

/**
 * The fence around a tool's namespace, for a server that makes the namespaces; deploy/kubernetes/tool has the same for a
 * platform that makes them. The tool is reached through the ingress controller, by its own pods, and by the API
 * servers, through which this server asks whether a release is well. The tool reaches names, its own pods and the
 * world, but nothing inside.
 */
export function networkPolicy(options: NetworkPolicyOptions): Applied<V1NetworkPolicy> {
  const { tool, namespace, apiServers, config } = options;
  const own: V1NetworkPolicyPeer = { podSelector: {} };
  const inside = insideWith(apiServers);
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'toolforge-push', namespace, labels: toolLabels(tool) },
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
