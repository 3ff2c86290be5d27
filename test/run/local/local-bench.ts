import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { execa } from 'execa';
import { readPlainFile } from '../../../src/builder/source/safe-files.ts';
import { createLog } from '../../../src/core/log/log.ts';
import type { Artifact, Process } from '../../../src/core/types.ts';
import { LocalRuntime } from '../../../src/run/local/local-runtime.ts';
import { markBuiltFor } from '../../../src/sandbox/build-mode.ts';
import { chooseSandbox } from '../../../src/sandbox/choose-sandbox.ts';
import type { Sandbox } from '../../../src/sandbox/sandbox.ts';
import type { Answer, RuntimeBench } from '../../contracts/runtime.ts';
import { scheduleRecords } from '../../support/schedule-records.ts';
import { SetClock } from '../../support/set-clock.ts';

export interface LocalBench extends RuntimeBench {
  readonly runtime: LocalRuntime;
  readonly sandbox: Sandbox;
  readonly port: number;
  readonly data: string;
  /** The clock of scheduled processes, which the test moves. */
  readonly clock: SetClock;
}

export interface LocalBenchOptions {
  readonly mode: 'isolated' | 'trusted';
  readonly healthMs?: number;
  readonly graceMs?: number;
  readonly drainMs?: number;
  readonly answerMs?: number;
  readonly logBytes?: number;
  readonly oneOffMs?: number;
  readonly diskBytes?: number;
  readonly diskFiles?: number;
  /** A folder to mount as the folder of running processes. Only root can mount it. */
  readonly runDisk?: string;
}

/** A LocalRuntime behind a real HTTP server on 127.0.0.1. */
export async function localBench(options: LocalBenchOptions): Promise<LocalBench> {
  const clock = new SetClock('2026-01-01T00:00:30');
  const data = await mkdtemp(join(tmpdir(), 'toolforge-push-run-'));
  await chmod(data, 0o711);
  const run = join(data, 'run');
  if (options.runDisk !== undefined) {
    await mkdir(run);
    await execa('mount', ['--bind', options.runDisk, run]);
  }
  const { sandbox } = await chooseSandbox(
    {
      data,
      sandbox: options.mode,
      sandbox_uid: 700_000,
      blocked_networks: [],
    },
    createLog('error'),
  );
  const schedules = scheduleRecords();
  // A client may use a connection again that is idle for long on a busy machine.
  const server = createServer({ keepAliveTimeout: 60_000 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const config = {
    data,
    domain: 'localhost',
    trusted_proxies: [],
    health_time: options.healthMs ?? 3000,
    release_time: 3000,
    schedule_time: 8000,
    scheduled_processes: 2,
    settle_time: 900,
    drain_time: options.drainMs ?? 5000,
    answer_time: options.answerMs ?? 60_000,
    grace_time: options.graceMs ?? 3000,
    run_processes: 64,
    run_memory: 256 * 1024 * 1024,
    run_disk: options.diskBytes ?? 0,
    run_files: options.diskFiles ?? 0,
    log_size: options.logBytes ?? 1024 * 1024,
    replica_folder: join(data, 'replicas'),
    config_vars_folder: join(data, 'config-vars'),
    build_environment: {},
    concurrent_one_offs: 2,
    one_off_time: options.oneOffMs ?? 60_000,
  };
  const runtime = await LocalRuntime.open({
    config,
    sandbox,
    launchEnvironment: async ({ base }) => ({ ...base }),
    httpOrigin: () => `http://127.0.0.1:${port}`,
    logsCommand: (tool) => `ssh -p 2222 127.0.0.1 logs ${tool}`,
    redeployCommand: (tool) => `ssh -p 2222 127.0.0.1 redeploy ${tool}`,
    log: createLog('error'),
    schedules: schedules.records,
    clock,
    readPlainFile,
    pauses: { firstMs: 100, mostMs: 400, forgottenAfterMs: 60_000 },
  });
  server.on('request', (incoming, response) => {
    const tool = runtime.toolOf(incoming.headers.host);
    if (tool === null) response.writeHead(404).end('the server itself');
    else runtime.serve(tool, incoming, response);
  });
  server.on('upgrade', (incoming, socket, head) => {
    runtime.upgrade(runtime.toolOf(incoming.headers.host) ?? '', incoming, socket, head);
  });
  const agent = new Agent({ keepAlive: true });
  return {
    paused: schedules.paused,
    ended: schedules.ended,
    rollOutSeconds: 6,
    runtime,
    config,
    sandbox,
    port,
    data,
    clock,
    passMinute: () => clock.pass(60),
    artifact: async (files, processes, path) => {
      const artifact = await artifactIn(data, files, processes, path ?? null);
      await sandbox.own([artifact.reference], 1);
      await markBuiltFor(artifact.reference, options.mode);
      return artifact;
    },
    request: (tool, path) => get({ port, agent, host: `${tool}.localhost`, path }),
    close: async () => {
      await runtime.close();
      agent.destroy();
      server.close();
      server.closeAllConnections();
      if (options.runDisk !== undefined) await execa('umount', ['--lazy', run]);
      await rm(data, { recursive: true, force: true });
    },
  };
}

let artifacts = 0;

async function artifactIn(
  data: string,
  files: Readonly<Record<string, string>>,
  processes: readonly Process[],
  healthCheckPath: string | null,
): Promise<Artifact> {
  artifacts += 1;
  const reference = join(data, 'artifacts', `a${artifacts}`);
  await mkdir(join(reference, 'workspace'), { recursive: true });
  for (const [name, content] of Object.entries(files))
    await writeFile(join(reference, 'workspace', name), content);
  return {
    id: `a${artifacts}`,
    kind: 'slug',
    reference,
    processes,
    buildpacks: ['toolforge/python 3.11.2'],
    service: { healthCheckPath },
    bytes: 1,
  };
}

interface Get {
  readonly port: number;
  readonly agent: Agent;
  readonly host: string;
  readonly path: string;
}

function get({ port, agent, host, path }: Get): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, agent, path, headers: { host } }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    outgoing.once('error', reject).end();
  });
}
