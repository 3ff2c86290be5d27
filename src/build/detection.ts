import { writeFile } from 'node:fs/promises';
import { parse } from 'smol-toml';
import { z } from 'zod';
import type { Progress } from '../core/progress.ts';
import type { BuildContext } from './build-context.ts';
import { noBuildpack, stepFailed } from './build-failures.ts';
import { type Candidate, type PlanSections, type ResolvedPlan, resolvePlan } from './build-plan.ts';
import type { Buildpack, BuildpackStore, GroupMember } from './buildpack-store.ts';
import { makeFolder } from './folders.ts';
import { escapeId, withPlatformVariables } from './layer-environment.ts';
import { misspeltProcfile } from './procfile.ts';
import { runStep, type StepEnd } from './run-step.ts';
import { readPlainFile } from './safe-files.ts';

/** The result of one buildpack's detection. */
interface Detected {
  readonly result: 'pass' | 'fail' | 'error';
  readonly alternatives: readonly PlanSections[];
  readonly lines: readonly string[];
  readonly end: StepEnd;
}

/** The group that will build, and its plan. */
export interface Detection extends ResolvedPlan {
  readonly buildpacks: readonly Buildpack[];
}

const sections = z.object({
  provides: z.array(z.object({ name: z.string() })).default([]),
  requires: z
    .array(z.strictObject({ name: z.string(), metadata: z.record(z.string(), z.unknown()).default({}) }))
    .default([]),
});
const planFile = sections.extend({ or: z.array(sections).default([]) });

const PASS = 0;
const FAIL = 100;
/** Plans are short. Every combination of alternatives may be tried, so a long plan is expensive. */
const maxPlanBytes = 64 * 1024;
/** How many lines of one detection's output are kept. */
const maxLines = 100;
/** A line of a detection that begins with this is shown however the detection ends: it says why a file was ignored. */
export const NOTE = 'note: ';

/**
 * Runs the detection of each group in turn, and of the buildpacks of one group at the same time. Takes the first
 * group in which every required buildpack passes and whose plan can be resolved.
 *
 * @throws DeployError `NO_BUILDPACK` if no group fits, or `BUILD_FAILED` if, besides, a detection broke.
 */
export async function detect(
  context: BuildContext,
  store: BuildpackStore,
  files: readonly string[],
): Promise<Detection> {
  const asked = new Map<string, Promise<Detected>>();
  const ask = (buildpack: Buildpack): Promise<Detected> => {
    const known = asked.get(buildpack.id) ?? runDetect(context, buildpack);
    asked.set(buildpack.id, known);
    return known;
  };
  for (const group of store.order) {
    const found = await tryGroup(group, ask);
    if (found === null) continue;
    await sayFound(context.progress, found.buildpacks, asked);
    return found;
  }
  return await nothingFound(context, asked, files);
}

async function tryGroup(
  group: readonly GroupMember[],
  ask: (buildpack: Buildpack) => Promise<Detected>,
): Promise<Detection | null> {
  // Not Promise.all: if one throws, the others must have ended before their folders are removed.
  const settled = await Promise.allSettled(group.map((member) => ask(member.buildpack)));
  const candidates: Candidate[] = [];
  let isOut = false;
  for (const [index, outcome] of settled.entries()) {
    if (outcome.status === 'rejected') throw outcome.reason;
    const member = group[index];
    if (member === undefined) continue;
    const { result, alternatives } = outcome.value;
    if (result === 'pass') {
      candidates.push({ id: member.buildpack.id, isOptional: member.isOptional, alternatives });
    } else if (!member.isOptional) {
      isOut = true;
    }
  }
  const plan = isOut ? null : resolvePlan(candidates);
  if (plan === null) return null;
  const taking = new Set(plan.group);
  return { ...plan, buildpacks: group.map((member) => member.buildpack).filter(({ id }) => taking.has(id)) };
}

async function runDetect(context: BuildContext, buildpack: Buildpack): Promise<Detected> {
  const { places, sandbox } = context;
  const name = escapeId(buildpack.id);
  const plan = ['detected', `${name}`, 'plan.toml'] as const;
  await makeFolder(places.source('detected', name), 0o755);
  await writeFile(places.source(...plan), '', { flag: 'wx' });
  await sandbox.own(places.source('detected', name), context.toolNumber);
  const environment = buildpack.isEnvCleared
    ? context.environment
    : withPlatformVariables(context.environment, context.variables);
  const program = places.path('buildpacks', buildpack.folder, 'bin', 'detect');
  const lines: string[] = [];
  const end = await runStep(
    sandbox,
    {
      name: `detection of ${context.name}`,
      argv: [program, places.path('platform'), places.path(...plan)],
      env: {
        ...environment,
        ...context.target,
        CNB_BUILDPACK_DIR: places.path('buildpacks', buildpack.folder),
        CNB_PLATFORM_DIR: places.path('platform'),
        CNB_BUILD_PLAN_PATH: places.path(...plan),
      },
      cwd: places.path('workspace'),
      mounts: places.detectMounts(name),
      toolNumber: context.toolNumber,
      limits: context.limits,
      publish: null,
    },
    {
      guard: context.guard,
      mask: context.mask,
      line: (text) => {
        if (lines.length < maxLines) lines.push(text);
      },
    },
  );
  if (end.code === FAIL) return { result: 'fail', alternatives: [], lines, end };
  if (end.code !== PASS) return { result: 'error', alternatives: [], lines, end };
  try {
    const text = await readPlainFile(places.folders.scratch, [...plan], maxPlanBytes);
    const { or, ...own } = planFile.parse(parse(text ?? ''));
    const alternatives = [own, ...or].map(({ provides, requires }) => ({
      provides: provides.map((provide) => provide.name),
      requires,
    }));
    return { result: 'pass', alternatives, lines, end };
  } catch {
    return { result: 'error', alternatives: [], lines: [...lines, 'its build plan cannot be read'], end };
  }
}

/** Prints one line with what was found, then all notes, then each detection that broke. */
async function sayFound(
  progress: Progress,
  buildpacks: readonly Buildpack[],
  asked: ReadonlyMap<string, Promise<Detected>>,
): Promise<void> {
  const seen = [];
  for (const buildpack of buildpacks) {
    const lines = (await asked.get(buildpack.id))?.lines ?? [];
    const first = lines.find((line) => !line.startsWith(NOTE))?.trim() ?? '';
    seen.push(first === '' ? nameOf(buildpack.id) : first);
  }
  progress.line(seen.join(' · '));
  for (const [id, detected] of asked) {
    const { lines, result } = await detected;
    for (const line of lines) if (line.startsWith(NOTE)) progress.line(line.slice(NOTE.length));
    if (result !== 'error') continue;
    progress.warn(`The detection of ${nameOf(id)} broke; the build goes on without it.`);
    for (const line of lines) progress.line(line);
  }
}

async function nothingFound(
  context: BuildContext,
  asked: ReadonlyMap<string, Promise<Detected>>,
  files: readonly string[],
): Promise<never> {
  const failures = [];
  const notes: string[] = [];
  for (const [id, detected] of asked) {
    const { lines, result, end } = await detected;
    for (const line of lines) {
      const note = line.startsWith(NOTE) ? line.slice(NOTE.length) : null;
      if (note !== null) notes.push(note);
      context.progress.line(`${nameOf(id)}: ${note ?? line}`);
    }
    if (result === 'error')
      failures.push({ ...end, name: `The detection of ${nameOf(id)}`, lastLines: lines });
  }
  const misspelt = misspeltProcfile(files);
  if (misspelt !== null) notes.push(misspelt);
  const [failure] = failures;
  throw failure === undefined ? noBuildpack(files, notes) : stepFailed(failure, context.limits);
}

/** `toolforge/python` → `python` */
export function nameOf(id: string): string {
  return id.slice(id.lastIndexOf('/') + 1);
}
