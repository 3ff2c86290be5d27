import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { registryEnvironment } from '../../test/builder/support/a-builder.ts';
import { registryHost } from '../../test/cluster/images.ts';
import type { ClusterServer } from '../../test/cluster/pushes/cluster-server.ts';

/** A build by hand: one pod with the builder image, a source that is copied into it, and the lifecycle's `creator`. */
export class CreatorPod {
  readonly #namespace: string;
  readonly #image: string;
  readonly #repository = `${registryHost}/bench-creator-${randomBytes(3).toString('hex')}`;

  /** @param image - The builder image. */
  constructor({ builds }: Pick<ClusterServer, 'builds'>, image: string) {
    this.#namespace = builds;
    this.#image = image;
  }

  /**
   * @param changed - Files to write into a copy of the source first: path to text.
   * @returns the seconds from the start of the pod to the image in the registry.
   */
  async build(source: string, changed: Readonly<Record<string, string>>): Promise<number> {
    const folder = await mkdtemp(join(tmpdir(), 'creator-'));
    try {
      await cp(source, folder, { recursive: true });
      for (const [path, text] of Object.entries(changed)) await writeFile(join(folder, path), text);
      const startedAt = performance.now();
      await this.#run(folder);
      return (performance.now() - startedAt) / 1000;
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  async #run(folder: string): Promise<void> {
    const name = `creator-${randomBytes(3).toString('hex')}`;
    const creator = [
      ...['/cnb/lifecycle/creator', '-app', '/tmp/source', '-layers', '/tmp/layers', '-no-color'],
      ...['-insecure-registry', registryHost, '-cache-image', `${this.#repository}/cache`],
      ...['-report', '/tmp/report.toml', `${this.#repository}/image`],
    ];
    const script = `mkdir /tmp/source /tmp/layers && tar --extract --file=- --directory=/tmp/source && exec ${creator.join(' ')}`;
    const container = {
      name,
      image: this.#image,
      command: ['/bin/bash', '-euc', script],
      stdin: true,
      stdinOnce: true,
      env: Object.entries({ CNB_PLATFORM_API: '0.13', ...registryEnvironment }).map(([key, value]) => ({
        name: key,
        value,
      })),
      securityContext: {
        allowPrivilegeEscalation: false,
        runAsNonRoot: true,
        capabilities: { drop: ['ALL'] },
        seccompProfile: { type: 'RuntimeDefault' },
      },
    };
    const overrides = {
      spec: { automountServiceAccountToken: false, restartPolicy: 'Never', containers: [container] },
    };
    const words = ['run', name, '--namespace', this.#namespace, '--image', this.#image, '--restart=Never'];
    const flags = ['--stdin', '--rm', '--quiet', '--pod-running-timeout=2m', '--overrides'];
    await execa('tar', ['--create', '--file=-', '--directory', folder, '.']).pipe('kubectl', [
      ...words,
      ...flags,
      JSON.stringify(overrides),
    ]);
  }
}
