import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkOut } from '../../contracts/builder.ts';
import { registry, registryHost } from '../images.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';
import { scriptBuilderImage } from './script-builder.ts';

test('if builder_image names another image, the order, buildpacks and user of that image are used', async () => {
  await using builder = await AClusterBuilder.open({ config: { builder_image: await scriptBuilderImage() } });
  const source = checkOut({
    'build.sh': 'echo "built by $(id -u):$(id -g)"\n',
    // Files that this project's own buildpacks would detect.
    'requirements.txt': 'Flask\n',
  });
  const artifact = await builder.build(source);
  assert.deepEqual(artifact.buildpacks, ['sample/script 1']);
  assert.deepEqual(artifact.processes, [{ type: 'web', command: ['true'], isDefault: true }]);
  assert.match(builder.said, /^ {7}a script$/m);
  assert.match(builder.said, /^ {7}built by 2000:2001$/m);
  const name = artifact.reference.slice(registryHost.length + 1, artifact.reference.indexOf('@'));
  const facts = await registry.facts(name, artifact.id, AbortSignal.timeout(10_000));
  assert.equal(`${registryHost}/${name}@${facts?.digest}`, artifact.reference);
});
