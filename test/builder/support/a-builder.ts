import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import type { BuildSettings } from '../../../src/builder/build-settings.ts';
import type { BuildRequest } from '../../../src/builder/builder.ts';
import { LocalBuilder } from '../../../src/builder/local/local-builder.ts';
import { createLog } from '../../../src/core/log/log.ts';
import { type Progress, progressTo } from '../../../src/core/progress.ts';
import type { Artifact } from '../../../src/core/types.ts';
import { chooseSandbox } from '../../../src/sandbox/choose-sandbox.ts';
import type { Sandbox } from '../../../src/sandbox/sandbox.ts';
import { buildRequest } from './build-request.ts';

export const productBuildpacks = resolve(import.meta.dirname, '../../../buildpacks');
export const fixtures = resolve(import.meta.dirname, '../../fixtures');

const MIB = 1024 * 1024;

/** Variables that builds need to reach the registries from this machine. */
export const registryEnvironment = Object.fromEntries(
  Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      /^(https?_proxy|no_proxy|ssl_cert_file|node_extra_ca_certs|pip_cert|pip_index_url|npm_config_registry|uv_python_(downloads_json_url|install_mirror))$/i.test(
        entry[0],
      ),
  ),
);

/** A real builder in a temporary data folder, by default in the strongest sandbox that this machine can do. */
export class ABuilder implements AsyncDisposable {
  readonly data: string;
  readonly config: BuildSettings;
  readonly builder: LocalBuilder;
  readonly sandbox: Sandbox;
  /** The lines that the person who pushes has seen of the newest build. */
  lines: string[] = [];
  #builds = 0;

  private constructor(config: BuildSettings, builder: LocalBuilder, sandbox: Sandbox) {
    this.config = config;
    this.data = config.data;
    this.builder = builder;
    this.sandbox = sandbox;
  }

  static async open(
    options: {
      buildpacks?: string;
      sandbox?: 'auto' | 'trusted';
      limits?: Partial<BuildSettings>;
      quietMs?: number;
    } = {},
  ): Promise<ABuilder> {
    const data = await mkdtemp(join(tmpdir(), 'builder-'));
    await chmod(data, 0o711);
    const { sandbox } = await chooseSandbox(
      {
        sandbox: options.sandbox ?? 'auto',
        sandbox_uid: 710_000,
        blocked_networks: [],
        data,
      },
      createLog('error'),
    );
    const config = {
      data,
      build_time: 600_000,
      build_processes: 512,
      build_memory: 4096 * MIB,
      build_disk: 4096 * MIB,
      build_files: 500_000,
      artifact_size: 2048 * MIB,
      build_output: 100 * MIB,
      build_environment: {},
      process_types: 20,
      scheduled_processes: 20,
      ...options.limits,
    };
    const builder = new LocalBuilder({
      config,
      sandbox,
      buildpacksFolder: options.buildpacks ?? productBuildpacks,
      log: pino({ level: 'silent' }),
      quietMs: options.quietMs ?? 30_000,
    });
    return new ABuilder(config, builder, sandbox);
  }

  /** Everything that the newest build has printed, as one text. */
  get said(): string {
    return this.lines.join('');
  }

  request(source: string, change: Partial<BuildRequest> = {}): BuildRequest {
    this.#builds += 1;
    return buildRequest(this.#builds, source, change);
  }

  /** Builds a folder of files. `lines` then holds what this build has printed. */
  build(
    source: string,
    change: Partial<BuildRequest> = {},
    signal = new AbortController().signal,
  ): Promise<Artifact> {
    this.lines = [];
    return this.builder.build(this.request(source, change), this.progress(), signal);
  }

  progress(): Progress {
    return progressTo((text) => this.lines.push(text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.data, { recursive: true, force: true });
  }
}
