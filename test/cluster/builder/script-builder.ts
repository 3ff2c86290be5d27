import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SampleBuildpacks, webProcess } from '../../builder/support/sample-buildpacks.ts';
import { buildah, builderImage, registry, registryHost } from '../images.ts';

const NAME = 'other-builder';
let made: Promise<string> | null = null;

/**
 * Another builder image, with another user and one buildpack, `sample/script`, that runs the source's build.sh. So a test
 * can do everything that a hostile repository can do in a build.
 */
export function scriptBuilderImage(): Promise<string> {
  made ??= make();
  return made;
}

async function make(): Promise<string> {
  const product = await builderImage();
  const tag = product.slice(product.lastIndexOf(':') + 1);
  const image = `${registryHost}/${NAME}:${tag}`;
  if ((await registry.digestOf(NAME, tag, AbortSignal.timeout(10_000))) !== null) return image;
  const script = {
    detect: '[[ -f build.sh ]] || exit 100\necho "a script"',
    build: `${webProcess}\nbash ./build.sh`,
  };
  // The lifecycle needs the version of each buildpack.
  const order = '[[order]]\n[[order.group]]\nid = "sample/script"\nversion = "1"\n';
  await using buildpacks = await SampleBuildpacks.write({ script }, order);
  const folder = await mkdtemp(join(tmpdir(), 'other-builder-'));
  await writeFile(
    join(folder, 'Dockerfile'),
    `FROM ${product}
USER 0:0
COPY . /tmp/buildpacks
RUN rm -r /cnb/buildpacks && mkdir -p /cnb/buildpacks/sample_script \\
 && mv /tmp/buildpacks/script /cnb/buildpacks/sample_script/1 && mv /tmp/buildpacks/order.toml /cnb/order.toml \\
 && groupadd --gid 2001 other && useradd --uid 2000 --gid 2001 --create-home other
ENV CNB_USER_ID=2000 CNB_GROUP_ID=2001
USER 2000:2001
`,
  );
  const words = ['--isolation', 'chroot', '--format', 'docker', '--tls-verify=false', '--tag', image];
  await buildah('build', ...words, '--file', join(folder, 'Dockerfile'), buildpacks.folder);
  await buildah('push', '--tls-verify=false', image, `docker://${image}`);
  await rm(folder, { recursive: true });
  return image;
}
