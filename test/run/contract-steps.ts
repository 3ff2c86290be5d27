import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { DeployError } from '../../src/core/errors.ts';
import type { CommitId, ToolName } from '../../src/core/names.ts';
import { progressTo } from '../../src/core/progress.ts';
import type { Artifact, Release, Replicas } from '../../src/core/types.ts';
import type { LogLine, RollOut, Runtime } from '../../src/run/runtime.ts';

/** Asks repeatedly until the answer is neither false nor null. Fails after `seconds`. */
export async function until<Answer>(
  ask: () => Promise<Answer | false | null>,
  what: string,
  seconds = 20,
): Promise<Answer> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== false && answer !== null) return answer;
    if (performance.now() > end) assert.fail(`waited ${seconds} s for: ${what}`);
    await wait(20);
  }
}

export function releaseOf(
  tool: ToolName,
  version: number,
  artifact: Artifact,
  configVars: Readonly<Record<string, string>> = {},
): Release {
  return {
    tool,
    version,
    commit: '3f2c1ab'.padEnd(40, '0') as CommitId,
    artifact,
    configVars,
    description: 'Deploy 3f2c1ab',
    by: 'alice',
    credential: 'password',
    deploymentId: 'd',
    createdAt: 0,
  };
}

export interface RollOutSteps {
  readonly signal?: AbortSignal;
  readonly beforeSwitch?: () => Promise<void>;
  readonly replicas?: Replicas;
  readonly renewed?: string;
}

/** Rolls a release out. @returns what the person who pushed saw. */
export function rollOut(runtime: Runtime, release: Release, steps: RollOutSteps = {}): Promise<string> {
  return telling(release, steps, (whole) => runtime.rollOut(whole));
}

/** Scales a live release. @returns what the person who asked saw. */
export function scale(
  runtime: Runtime,
  release: Release,
  replicas: Replicas,
  steps: RollOutSteps = {},
): Promise<string> {
  return telling(release, { ...steps, replicas }, (whole) => runtime.scale(whole));
}

async function telling(
  release: Release,
  steps: RollOutSteps,
  act: (whole: RollOut) => Promise<void>,
): Promise<string> {
  let seen = '';
  const progress = progressTo((text) => {
    seen += text;
  });
  const { signal = new AbortController().signal, beforeSwitch = async () => {}, replicas = {} } = steps;
  const renewing = steps.renewed === undefined ? {} : { renewed: steps.renewed };
  try {
    await act({ release, toolNumber: 1, progress, signal, beforeSwitch, replicas, ...renewing });
  } catch (error) {
    if (error instanceof DeployError) failures.set(error, seen);
    throw error;
  }
  return seen;
}

/** Runs a release phase. @returns what the person who pushed saw. */
export async function releasePhase(
  runtime: Runtime,
  release: Release,
  steps: RollOutSteps = {},
): Promise<string> {
  let seen = '';
  const progress = progressTo((text) => {
    seen += text;
  });
  const { signal = new AbortController().signal } = steps;
  await runtime.runReleasePhase({ step: 'release', release, toolNumber: 1, progress, signal });
  return seen;
}

const failures = new WeakMap<DeployError, string>();

/** Runs a rollout that must fail. @returns the error, and what the person who pushed saw. */
export function failingRollOut(
  runtime: Runtime,
  release: Release,
  steps: RollOutSteps = {},
): Promise<{ error: DeployError; seen: string }> {
  return failing(rollOut(runtime, release, steps));
}

/** Waits for a rollout or a scale that must fail. @returns the error, and what the person saw. */
export async function failing(work: Promise<string>): Promise<{ error: DeployError; seen: string }> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof DeployError, String(error));
    return { error, seen: failures.get(error) ?? '' };
  }
  assert.fail('it went well');
}

/**
 * Runs work with a settle time of 20 s, so that a process can crash within it even if its start takes long on a busy
 * machine.
 */
export async function withLongSettleTime<Result>(
  { config }: { readonly config: { settle_time: number } },
  work: () => Promise<Result>,
): Promise<Result> {
  const { settle_time } = config;
  config.settle_time = 20_000;
  try {
    return await work();
  } finally {
    config.settle_time = settle_time;
  }
}

/** Reads the tool's log, the newest lines last. */
export async function logOf(
  runtime: Runtime,
  tool: ToolName,
  process: string | null = null,
  lines = 1000,
): Promise<LogLine[]> {
  const signal = new AbortController().signal;
  return (await Array.fromAsync(runtime.logs(tool, { process, lines, follow: false, signal }))).flat();
}

export async function textOf(
  runtime: Runtime,
  tool: ToolName,
  process: string | null = null,
): Promise<string> {
  return (await logOf(runtime, tool, process)).map(({ text }) => text).join('\n');
}
