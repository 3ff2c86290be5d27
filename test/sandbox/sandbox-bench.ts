import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createLog } from '../../src/core/log/log.ts';
import { chooseSandbox } from '../../src/sandbox/choose-sandbox.ts';
import type { Exit, Sandbox, SandboxCommand, SandboxProcess } from '../../src/sandbox/sandbox.ts';

export const isRoot = process.getuid?.() === 0;

/** Creates a new data folder that other users may pass through. */
export async function dataFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'toolforge-push-sandbox-'));
  await chmod(path, 0o711);
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

export async function sandboxIn(
  data: string,
  mode: 'isolated' | 'trusted',
  blockedNetworks: readonly string[] = [],
): Promise<Sandbox> {
  const config = { data, sandbox: mode, sandbox_uid: 700_000, blocked_networks: [...blockedNetworks] };
  return (await chooseSandbox(config, createLog('error'))).sandbox;
}

/** Starts a program of the tool 1 in the folder `/` with small limits, unless `more` says otherwise. */
export function startIn(
  sandbox: Sandbox,
  argv: readonly string[],
  more: Partial<SandboxCommand> = {},
): SandboxProcess {
  return sandbox.start({
    name: 'test',
    argv,
    env: { PATH: '/usr/bin:/bin', ...more.env },
    cwd: more.cwd ?? '/',
    mounts: more.mounts ?? [],
    tree: more.tree ?? null,
    toolNumber: more.toolNumber ?? 1,
    limits: more.limits ?? { processes: 32, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 * 1024 },
    publish: more.publish ?? null,
    ...(more.network && { network: more.network }),
    endsFirst: more.endsFirst === true,
  });
}

/** Runs a program to its end. */
export async function runIn(
  sandbox: Sandbox,
  argv: readonly string[],
  more: Partial<SandboxCommand> = {},
): Promise<Exit & { readonly output: string }> {
  const process = startIn(sandbox, argv, more);
  const [output, exit] = await Promise.all([text(process.output), process.exited]);
  return { ...exit, output };
}

/**
 * Waits for a line in the output, and continues to consume the output. @returns that line
 *
 * @throws if the output ends without this line, or if the line does not come within 15 s.
 */
export async function lineOf(process: SandboxProcess, pattern: RegExp): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let seen = '';
  process.output.setEncoding('utf8').on('data', (chunk: string) => {
    seen += chunk;
    const line = seen
      .split('\n')
      .slice(0, -1)
      .find((one) => pattern.test(one));
    if (line !== undefined) resolve(line);
  });
  process.output.once('end', () => reject(new Error(`ended without the line: ${seen}`)));
  const limit = setTimeout(() => reject(new Error(`no line within 15 s: ${seen}`)), 15_000);
  return await promise.finally(() => clearTimeout(limit));
}
