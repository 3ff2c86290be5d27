import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { networkPolicy } from '../../../../src/run/kubernetes/manifests/network-policy.ts';
import {
  INSIDE,
  mayComeFrom,
  mayReach,
  mayReachAddress,
  type Place,
  type Policy,
  WORLD,
} from '../../../kubernetes/network-policies.ts';
import { manifestConfig } from './manifest-config.ts';

const API_SERVER = '192.0.2.1';
const namespaces = ['tool-wikibot', 'tool-other'] as const;
const file = resolve(import.meta.dirname, '../../../../deploy/kubernetes/tool/network-policy.yaml');
const ofPlatform = await readFile(file, 'utf8');

/** The policy as it is sent to the cluster, because the library has another name for `from`. */
function made(namespace: string, given: Partial<typeof manifestConfig> = {}): Policy {
  const policy = networkPolicy({
    tool: namespace.replace('tool-', ''),
    namespace,
    apiServers: [API_SERVER, '10.0.0.7'],
    config: { ...manifestConfig, ...given },
  });
  return JSON.parse(JSON.stringify(policy).replaceAll('"_from"', '"from"')) as Policy;
}

function applied(namespace: string): Policy {
  const policy = parse(ofPlatform) as Policy;
  return { ...policy, metadata: { ...policy.metadata, namespace } };
}

const place = (namespace: string): Place => ({ namespace, labels: { toolforge: 'tool' } });
const [tool, other] = [place('tool-wikibot'), place('tool-other')];
const controller = place('ingress-nginx');
const dns = place('kube-system');

for (const { who, policies } of [
  { who: 'the server', policies: namespaces.map((namespace) => made(namespace)) },
  { who: 'the platform', policies: namespaces.map(applied) },
]) {
  describe(`threat 62: the NetworkPolicy that ${who} makes in a tool's namespace`, () => {
    for (const { name, from, to, port, may } of [
      { name: 'the ingress controller reaches a tool', from: controller, to: tool, port: 8000, may: true },
      { name: 'a tool reaches itself', from: tool, to: tool, port: 8000, may: true },
      { name: 'a tool does not reach another tool', from: tool, to: other, port: 8000, may: false },
      {
        name: 'another namespace does not reach a tool',
        from: place('default'),
        to: tool,
        port: 8000,
        may: false,
      },
      { name: 'a tool reaches DNS', from: tool, to: dns, port: 53, may: true },
      { name: 'a tool reaches no other port of the DNS pod', from: tool, to: dns, port: 443, may: false },
      {
        name: 'a tool does not reach the server',
        from: tool,
        to: place('toolforge-push'),
        port: 8080,
        may: false,
      },
      { name: 'no tool reaches the ingress controller', from: tool, to: controller, port: 80, may: false },
    ]) {
      test(name, () => assert.equal(mayReach(policies, { from, to, port }), may));
    }

    test('a tool’s NetworkPolicy lets the tool reach the internet, but no private or link-local address', () => {
      for (const address of WORLD) assert.ok(mayReachAddress(policies, tool, address), address);
      for (const address of INSIDE) assert.ok(!mayReachAddress(policies, tool, address), address);
    });

    test('a tool’s NetworkPolicy lets the API servers’ addresses reach the tool for health checks, but no other address', () => {
      assert.ok(mayComeFrom(policies, tool, API_SERVER));
      for (const address of [...WORLD, ...INSIDE]) assert.ok(!mayComeFrom(policies, tool, address), address);
    });
  });
}

test('threat 62: a tool does not reach an API server that has a public address', () => {
  assert.ok(!mayReachAddress([made('tool-wikibot')], tool, API_SERVER));
});

test('threat 62: tool_networks_in and ingress_namespace set who reaches tools, and tool_networks_out what tools reach', () => {
  const given = {
    tool_networks_in: ['10.9.0.0/16'],
    tool_networks_out: ['10.8.0.0/16'],
    ingress_namespace: 'front',
  };
  const policies = [made('tool-wikibot', given)];
  assert.ok(mayComeFrom(policies, tool, '10.9.0.1') && !mayComeFrom(policies, tool, '10.8.0.1'));
  assert.ok(mayReachAddress(policies, tool, '10.8.0.1') && !mayReachAddress(policies, tool, '10.9.0.1'));
  assert.ok(mayReach(policies, { from: place('front'), to: tool, port: 8000 }));
  assert.ok(!mayReach(policies, { from: controller, to: tool, port: 8000 }));
});
