import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { checkOut } from '../../contracts/builder.ts';
import { registryHost } from '../images.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';
import { scriptBuilderImage } from './script-builder.ts';

const PASSWORD = 'registry-password-of-the-operator';
const ENCODED = Buffer.from(`pusher:${PASSWORD}`).toString('base64');

/** A build script that searches everywhere for credentials, and prints each finding after a keyword. */
const spy = `
echo "user: $(id -u), groups: $(id -G)"
env | sed 's/^/env: /'
for file in /proc/[0-9]*/environ; do tr '\\0' '\\n' <"$file" 2>/dev/null | sed "s|^|environ: |"; done
for file in /proc/[0-9]*/cmdline; do echo "process: $(tr '\\0' ' ' <"$file" 2>/dev/null)"; done
cut -d' ' -f5 /proc/self/mountinfo | sed 's/^/mount: /'
for folder in /registry /source /about /root /home/cnb/.docker /var/run/secrets /run/secrets /kaniko; do
  [ -e "$folder" ] && find "$folder" -type f 2>/dev/null -exec sh -c 'echo "file: $1"; sed "s/^/content: /" "$1"' sh {} \\;
done
find / -xdev -readable -type f \\( -name config.json -o -name authorization -o -name token -o -name .dockerconfigjson -o -name kubeconfig \\) 2>/dev/null | sed 's/^/find: /'
grep -rlsI "$(printf 'registry-pass%s' word-of)" /workspace /layers /control /platform /tmp /home /etc /cnb 2>/dev/null | sed 's/^/grep: /'
touch /control/analyzed.toml 2>/dev/null && echo 'control: written'
for address in "https://\${KUBERNETES_SERVICE_HOST:-10.96.0.1}/api/v1/namespaces" https://kubernetes.default.svc/api/v1/secrets; do
  echo "api: $(curl -sk -m 5 -o /tmp/answer -w '%{http_code}' "$address")"
done
echo "source: $(curl -s -m 5 -o /dev/null -w '%{http_code}' "$SOURCE" -H 'Authorization: Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA')"
mkdir -p /layers/sample_script/x && printf '[image]\\n' >/layers/report.toml
cat >/layers/analyzed.toml <<'E'
[run-image]
reference = "${registryHost}/somebody/elses@sha256:${'0'.repeat(64)}"
E
ln -s /registry /layers/sample_script/stolen; printf '[types]\\nlaunch = true\\ncache = true\\n' >/layers/sample_script/stolen.toml
ln -s /registry/config.json ./config-of-registry
cp /layers/analyzed.toml /layers/group.toml; cp /layers/analyzed.toml /layers/plan.toml
`;

test('threat 74: a hostile build finds no credential in its environment, /proc, files, or at the cluster’s addresses', async () => {
  await using builder = await AClusterBuilder.open({
    config: {
      builder_image: await scriptBuilderImage(),
      registry_secret: 'pusher',
      build_environment: { SOURCE: 'http://127.0.0.1:1' },
    },
  });
  await builder.cluster.core.createNamespacedSecret({
    namespace: builder.namespace,
    body: {
      metadata: { name: 'pusher' },
      type: 'kubernetes.io/dockerconfigjson',
      stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [registryHost]: { auth: ENCODED } } }) },
    },
  });
  const artifact = await builder.build(checkOut({ 'build.sh': spy }), {
    configVars: { OWN_SETTING: 'of-the-tool-itself' },
  });
  const found = (word: string) =>
    builder.lines.map((line) => line.trim()).filter((line) => line.startsWith(`${word}: `));

  // The script ran as a plain user, and saw the tool's own values.
  assert.match(builder.said, /^ {7}user: 2000, groups: 2001$/m);
  assert.ok(found('env').includes('env: OWN_SETTING=[config var OWN_SETTING]'), builder.said);

  for (const secret of [PASSWORD, ENCODED, 'Bearer ', 'dockerconfigjson']) {
    assert.ok(!builder.said.includes(secret), `${secret} was found:\n${builder.said}`);
  }
  for (const word of ['file', 'content', 'find', 'grep', 'control']) assert.deepEqual(found(word), []);
  assert.ok(!found('environ').some((line) => /AUTH|TOKEN|PASSWORD|DOCKER_CONFIG|SOURCE_URL/i.test(line)));
  assert.ok(!found('mount').some((line) => /secret|registry|source|about|token/.test(line)));
  // The script saw no process of another phase, only the builder and its children.
  assert.ok(found('process').every((line) => !/exporter|restorer|analyzer|curl.*authorization/.test(line)));
  assert.ok(
    found('api').length === 2 && found('api').every((line) => /: (000|401|403)$/.test(line)),
    builder.said,
  );

  // The script has overwritten the lifecycle's files, which changed nothing.
  assert.deepEqual(artifact.buildpacks, ['sample/script 1']);
  // The phase with the credential did not follow the script's link to it, so no layer of the image has it.
  for (const layer of await layersOf(artifact.reference)) {
    assert.ok(!layer.includes(ENCODED) && !layer.includes(PASSWORD));
  }
});

/** The image's layers, decompressed. */
async function layersOf(reference: string): Promise<Buffer[]> {
  const [name = '', digest = ''] = reference.slice(registryHost.length + 1).split('@');
  const accept =
    'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json';
  const answer = await fetch(`http://${registryHost}/v2/${name}/manifests/${digest}`, {
    headers: { accept },
  });
  const { layers } = (await answer.json()) as { layers: { digest: string }[] };
  assert.ok(layers.length > 2);
  return await Promise.all(
    layers.map(async (layer) => {
      const blob = await fetch(`http://${registryHost}/v2/${name}/blobs/${layer.digest}`);
      return gunzipSync(Buffer.from(await blob.arrayBuffer()));
    }),
  );
}
