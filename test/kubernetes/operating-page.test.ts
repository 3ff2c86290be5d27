import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { readConfig } from '../../src/config.ts';

// Checks that need no cluster. test/cluster/installation/installation.test.ts follows the page on a cluster.
const root = resolve(import.meta.dirname, '../..');
const page = await readFile(join(root, 'docs/operating.md'), 'utf8');
const commands = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1]).join('\n');
const base = parse(await readFile(join(root, 'deploy/kubernetes/kustomization.yaml'), 'utf8'));
const settings = readConfig({ TOOLFORGE_PUSH_CONFIG: join(root, 'deploy/kubernetes/settings.yaml') });

function file(name: string): string {
  const [text, ...others] = [...page.matchAll(/^```yaml\n# (\S+)\n([\s\S]*?)^```$/gm)].flatMap((match) =>
    match[1] === name ? (match[2] ?? '') : [],
  );
  assert.ok(text !== undefined && others.length === 0, `${name} is on the page once`);
  return text;
}

const overlay = parse(file('kustomization.yaml'));

test('docs/operating.md has only one list of Kustomize patches, so that no list replaces another', () => {
  assert.equal(page.match(/^patches:/gm)?.length, 1);
  assert.deepEqual(
    overlay.patches.map(({ target }: { target: { name: string } }) => target.name),
    ['doors', 'ways-out-of-builds'],
  );
});

test('docs/operating.md, the manifests and the settings use the same tag for images', () => {
  const [image] = overlay.images;
  assert.equal(image.name, base.images[0].newName);
  assert.deepEqual([image.newTag, base.images[0].newTag], ['1', '1']);
  assert.match(commands, new RegExp(`--tag ${image.newName}:1 .*\\n.*push ${image.newName}:1$`, 'm'));
  assert.match(commands, /build-images --tag 1 registry\.example\.org\/toolforge$/m);
  assert.equal(settings.builder_image, 'registry.example.org/toolforge/toolforge-buildpack-build:1');
});

test('docs/operating.md shows how to create every file and Secret that its overlay and commands use', () => {
  for (const name of [...overlay.resources, ...overlay.configMapGenerator[0].files]) {
    if (name.startsWith('../')) assert.equal(name, '../toolforge-push/deploy/kubernetes');
    else assert.ok(page.includes(`\`\`\`yaml\n# ${name}\n`) || commands.includes(`/${name} .`), name);
  }
  for (const name of overlay.secretGenerator[0].files)
    assert.match(commands, new RegExp(`[ >]${name}$`, 'm'), name);
  const ingress = parseAllDocuments(file('doors.yaml')).map((document) => document.toJS())[1];
  // The section "Removal" has a second such command. The first command must come before `apply`.
  const made = commands.indexOf(`create secret tls ${ingress.spec.tls[0].secretName} `);
  assert.ok(made >= 0 && made < commands.indexOf('kubectl apply -k .'));
  for (const [, name = ''] of commands.matchAll(/-f ([-a-z]+\.yaml)/g)) file(name);
});

test('the volume that docs/operating.md creates by hand fits the claim and the user of the StatefulSet', async () => {
  const set = parse(await readFile(join(root, 'deploy/kubernetes/server.yaml'), 'utf8'));
  const [claim] = set.spec.volumeClaimTemplates;
  const volume = parse(file('volume.yaml'));
  assert.equal(volume.spec.claimRef.name, `${claim.metadata.name}-${set.metadata.name}-0`);
  assert.equal(volume.spec.capacity.storage, claim.spec.resources.requests.storage);
  const uid = set.spec.template.spec.securityContext.runAsUser;
  assert.ok(commands.includes(`install -d -o ${uid} -g ${uid} -m 0700 ${volume.spec.hostPath.path}\n`));
  const pod = parse(file('volume-pod.yaml'));
  assert.equal(pod.spec.securityContext.runAsUser, uid);
  assert.equal(pod.spec.volumes[0].persistentVolumeClaim.claimName, volume.spec.claimRef.name);
});
