import { writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { inPieces, outputTime } from '../../core/fair-share/time-shares.ts';
import { fromStatus } from '../../sandbox/sandbox.ts';
import { makeFolder } from '../folders.ts';
import { OutputLines } from '../output-lines.ts';
import { readStart, readTomlFile } from '../source/safe-files.ts';
import type { BuildContext } from './build-context.ts';
import { type Candidate, type PlanSections, type ResolvedPlan, resolvePlan } from './build-plan.ts';
import { runStep, type StepEnd } from './buildpack-step.ts';
import type { Buildpack, BuildpackStore, GroupMember } from './buildpack-store.ts';
import {
  type DetectedSource,
  type DetectionEnd,
  failDetection,
  MAX_LINES,
  sayDetected,
} from './detection-report.ts';
import { escapeId, withPlatformVariables } from './layer-environment.ts';

/** The result of one buildpack's detection. */
interface Detected extends DetectionEnd {
  readonly alternatives: readonly PlanSections[];
}

/** The buildpacks that will build, in their order, and their build plan. */
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
/** At most this many bytes of one detection's output are read. */
const MAX_OUTPUT_BYTES = 64 * 1024;

/**
 * Runs the detections of buildpacks group by group, each detection once. The detections of a group run at the same
 * time, but those of buildpacks with `clear-env` run after the others. Takes the first group in which every required
 * buildpack passes and whose plan can be resolved.
 *
 * @throws DeployError if no group fits: see `failDetection`.
 */
export async function detect(
  context: BuildContext,
  store: BuildpackStore,
  source: DetectedSource,
): Promise<Detection> {
  const asked: Asked = new Map();
  for (const group of store.order) {
    const more = group.map(({ buildpack }) => buildpack).filter(({ id }) => !asked.has(id));
    // Buildpacks with `clear-env` get fewer environment variables, so they need a sandbox of their own.
    for (const isCleared of [false, true]) {
      await askTogether(
        context,
        more.filter(({ isEnvCleared }) => isEnvCleared === isCleared),
        asked,
      );
    }
    const found = chooseGroup(group, asked);
    if (found === null) continue;
    sayDetected(
      context.progress,
      found.buildpacks.map(({ id }) => id),
      { ends: asked, source },
    );
    return found;
  }
  failDetection(context.progress, asked, { source, named: store.named, limits: context.limits });
}

type Asked = Map<string, Detected>;

function chooseGroup(group: readonly GroupMember[], asked: Asked): Detection | null {
  const candidates: Candidate[] = [];
  for (const { buildpack, isOptional } of group) {
    const detected = asked.get(buildpack.id);
    if (detected?.result === 'pass')
      candidates.push({ id: buildpack.id, isOptional, alternatives: detected.alternatives });
    else if (!isOptional) return null;
  }
  const plan = resolvePlan(candidates);
  if (plan === null) return null;
  const taking = new Set(plan.group);
  return { ...plan, buildpacks: group.map((member) => member.buildpack).filter(({ id }) => taking.has(id)) };
}

/**
 * Runs several detections at the same time in one sandbox, because a sandbox takes longer to start than a detection
 * takes to run.
 *
 * The arguments are the platform folder, the folder for all results, and two for each detection: the name of its folder
 * for results, and the folder of its buildpack. Prints a line when a detection ends: its number, which counts from 0,
 * and its exit status.
 */
const TOGETHER = `_platform=$1 _detected=$2 _number=0
shift 2
while [ $# -gt 0 ]; do
  (
    export CNB_BUILDPACK_DIR="$2" CNB_BUILD_PLAN_PATH="$_detected/$1/plan.toml"
    "$2/bin/detect" "$_platform" "$CNB_BUILD_PLAN_PATH" >"$_detected/$1/output" 2>&1
    echo "$_number $?"
  ) &
  _number=$((_number + 1))
  shift 2
done
wait`;

async function askTogether(
  context: BuildContext,
  buildpacks: readonly Buildpack[],
  asked: Asked,
): Promise<void> {
  const [first] = buildpacks;
  if (first === undefined) return;
  const { places, sandbox } = context;
  const names = buildpacks.map(({ id }) => escapeId(id));
  for (const name of names) {
    await makeFolder(places.source('detected', name), 0o755);
    await writeFile(places.source('detected', name, 'plan.toml'), '', { flag: 'wx' });
  }
  await sandbox.own(
    names.map((name) => places.source('detected', name)),
    context.toolNumber,
  );
  const environment = first.isEnvCleared
    ? context.environment
    : withPlatformVariables(context.environment, context.variables);
  const statuses = new Map<number, number>();
  const said: string[] = [];
  const hear = (text: string): void => {
    const [, number, status] = /^(\d+) (\d+)$/.exec(text) ?? [];
    if (status !== undefined && Number(number) < buildpacks.length)
      statuses.set(Number(number), Number(status));
    else if (said.length < MAX_LINES) said.push(text);
  };
  const end = await runStep(
    sandbox,
    {
      name: `detection of ${context.name}`,
      argv: [
        ...['/bin/sh', '-c', TOGETHER, 'sh', places.path('platform'), places.path('detected')],
        ...buildpacks.flatMap(({ place, folder }, index) => [names[index] ?? '', places.path(place, folder)]),
      ],
      env: { ...environment, ...context.target, CNB_PLATFORM_DIR: places.path('platform') },
      cwd: places.path('workspace'),
      mounts: places.detectMounts(names),
      tree: context.tree,
      toolNumber: context.toolNumber,
      limits: context.limits,
      publish: null,
      network: context.network,
    },
    { guard: context.guard, mask: context.mask, line: hear },
  );
  for (const [index, { id }] of buildpacks.entries()) {
    const status = statuses.get(index) ?? null;
    const whole = { ...end, lastLines: said };
    asked.set(id, await readDetected(context, { name: names[index] ?? '', status, whole }));
  }
}

interface EndedDetection {
  /** The name of the folder that has the detection's results. */
  readonly name: string;
  /** The exit status of the detection. Null if the sandbox ended first. */
  readonly status: number | null;
  /**
   * How the sandbox of this detection ended. Other detections may have run in this sandbox too. `lastLines` has the
   * lines that the sandbox printed, except those with the exit statuses of detections.
   */
  readonly whole: StepEnd;
}

/** Reads the output and the build plan that one detection left in its folder. */
async function readDetected(
  context: BuildContext,
  { name, status, whole }: EndedDetection,
): Promise<Detected> {
  const { scratch } = context.places.folders;
  const lines: string[] = [];
  const output = new OutputLines({
    mask: context.mask.steps,
    line: (text) => {
      if (lines.length < MAX_LINES) lines.push(text);
    },
  });
  const share = String(context.toolNumber);
  try {
    const start = await readStart(scratch, ['detected', name, 'output'], MAX_OUTPUT_BYTES);
    for (const piece of inPieces(start)) await outputTime.runSteps(share, output.write(piece));
  } catch {
    return { result: 'error', alternatives: [], lines: ['its output cannot be read'], end: whole };
  }
  await outputTime.runSteps(share, output.end());
  if (status === null)
    return { result: 'error', alternatives: [], lines: [...lines, ...whole.lastLines], end: whole };
  const exit = fromStatus(status);
  const isKilled = exit.signal === 'SIGKILL';
  const end = {
    ...exit,
    isOutOfMemory: isKilled && whole.isOutOfMemory,
    isOverKernelLimits: isKilled && whole.isOverKernelLimits === true,
  };
  if (exit.code === FAIL) return { result: 'fail', alternatives: [], lines, end };
  if (exit.code !== PASS) return { result: 'error', alternatives: [], lines, end };
  try {
    const { content } = await readTomlFile(scratch, ['detected', name, 'plan.toml']);
    const { or, ...own } = planFile.parse(content);
    const alternatives = [own, ...or].map(({ provides, requires }) => ({
      provides: provides.map((provide) => provide.name),
      requires,
    }));
    return { result: 'pass', alternatives, lines, end };
  } catch {
    return { result: 'error', alternatives: [], lines: [...lines, 'its build plan cannot be read'], end };
  }
}
