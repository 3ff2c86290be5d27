import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Sample {
  /** The body of bin/detect, by default `exit 0`. */
  readonly detect?: string;
  /** The body of bin/build, after `set -eu`. */
  readonly build: string;
  readonly isEnvCleared?: boolean;
}

/** Writes launch.toml with a web process, so that a build has something to run. */
export const webProcess = `printf '[[processes]]\\ntype = "web"\\ncommand = ["true"]\\ndefault = true\\n' >"$CNB_LAYERS_DIR/launch.toml"`;

/** A folder of buildpacks `sample/NAME`. By default, all are required and form one group in the given order. */
export class SampleBuildpacks implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async write(samples: Readonly<Record<string, Sample>>, order?: string): Promise<SampleBuildpacks> {
    const folder = await mkdtemp(join(tmpdir(), 'buildpacks-'));
    for (const [name, sample] of Object.entries(samples)) {
      const bin = join(folder, name, 'bin');
      await mkdir(bin, { recursive: true });
      await writeFile(
        join(folder, name, 'buildpack.toml'),
        `api = "0.11"\n[buildpack]\nid = "sample/${name}"\nversion = "1"\nclear-env = ${sample.isEnvCleared ?? false}\n`,
      );
      for (const [program, body] of [
        ['detect', sample.detect ?? 'exit 0'],
        ['build', sample.build],
      ] as const) {
        await writeFile(join(bin, program), `#!/usr/bin/env bash\nset -eu\n${body}\n`);
        await chmod(join(bin, program), 0o755);
      }
    }
    const group = Object.keys(samples).map((name) => `[[order.group]]\nid = "sample/${name}"\n`);
    await writeFile(join(folder, 'order.toml'), order ?? `[[order]]\n${group.join('')}`);
    return new SampleBuildpacks(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true });
  }
}
