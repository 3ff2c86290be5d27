import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  labelsOf,
  newJobName,
  repositoriesOf,
  selectorOf,
} from '../../../../src/builder/kubernetes/job/build-names.ts';
import { parseReference } from '../../../../src/builder/registry/image-reference.ts';
import { tool } from '../../support/build-request.ts';

const longest = `a${'-b'.repeat(31)}`;
const names = ['wc', 'a_b', 'a-_b', 'a___b', 'a--b', longest, `x${'_'.repeat(61)}y`];

for (const name of names) {
  test(`objects and repositories of the tool ${name} have names that Kubernetes and registries accept`, () => {
    assert.match(newJobName(tool(name)), /^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$/);
    const { host, image, cache } = repositoriesOf('registry.example.org/tools', tool(name));
    assert.equal(host, 'registry.example.org');
    for (const repository of [image, cache]) {
      assert.equal(parseReference(`${host}/${repository}:x`).name, repository);
    }
  });
}

test('no two builds share the name of a Job, and no two tools share the name of an image', () => {
  const objects = [...names, ...names].map((name) => newJobName(tool(name)));
  assert.equal(new Set(objects).size, objects.length);
  const images = names.map((name) => repositoriesOf('registry.example.org', tool(name)).image);
  assert.equal(new Set(images).size, images.length);
});

for (const [registry, project, image] of [
  ['harbor.example.org', 'tool-wc', 'tool-wc/tool-wc'],
  ['harbor.example.org:8443/push', 'push', 'push/tool-wc/tool-wc'],
  ['10.0.0.1:5000/a/b', 'a', 'a/b/tool-wc/tool-wc'],
] as const) {
  test(`in the registry ${registry}, the image of the tool wc is ${image}`, () => {
    const repositories = repositoriesOf(registry, tool('wc'));
    assert.deepEqual([repositories.project, repositories.image], [project, image]);
  });
}

test('the labels of a build’s objects match the label selector for this build and the label selector for all builds of the tool', () => {
  const labels = labelsOf(tool('wc'), 'one', 'build-wc-1');
  for (const selector of [selectorOf(tool('wc')), selectorOf(tool('wc'), 'build-wc-1')]) {
    for (const [name = '', value] of selector.split(',').map((pair) => pair.split('='))) {
      assert.equal(labels[name], value);
    }
  }
  assert.ok(!selectorOf(tool('wc')).includes('build-wc-1'));
});
